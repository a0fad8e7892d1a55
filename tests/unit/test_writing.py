"""upsert, on SQLite and PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Computed,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tenantcollect import TenantcollectError, upsert

METADATA = MetaData()
COMMIT = Table(
    "commits",
    METADATA,
    Column("tenant_id", String(20), primary_key=True),
    Column("sha", Text, primary_key=True),
    Column("subject", Text),
    Column("made_by", Text, server_default="the server"),
    Column("length", Integer, Computed("length(subject)")),
    Column("seen_at", DateTime(timezone=True), default=lambda: datetime(2026, 1, 1, tzinfo=UTC)),
)
LINK = Table("links", METADATA, Column("a", Integer, primary_key=True), Column("b", Integer, primary_key=True))
KEYLESS = Table("keyless", METADATA, Column("a", Integer))


class Base(DeclarativeBase):
    metadata = METADATA


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column("author_id", primary_key=True)
    name: Mapped[str] = mapped_column("full_name")
    joined: Mapped[str | None]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Both databases, one after the other, with the tables made."""
    engine = create_engine(database_url)
    METADATA.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def db(engine: Engine) -> Iterator[Session]:
    """A session that nobody commits."""
    with Session(engine) as session:
        yield session


def commit(sha: str, subject: str = "", **more: Any) -> dict[str, Any]:
    """A row as a collector writes it."""
    return {"tenant_id": "acme", "sha": sha, "subject": subject, **more}


def stored(db: Session) -> dict[str, Any]:
    """The rows that are there, by sha."""
    return {row.sha: row for row in db.execute(select(COMMIT)).all()}


def test_rows_are_inserted_then_updated(db: Session) -> None:
    """Writing a window again changes nothing but what changed."""
    assert upsert(db, COMMIT, [commit("a", "one"), commit("b", "two")]) == 2
    assert upsert(db, COMMIT, [commit("b", "three"), commit("c", "four")]) == 2
    assert {sha: row.subject for sha, row in stored(db).items()} == {"a": "one", "b": "three", "c": "four"}


def test_columns_that_a_row_does_not_name_stay_as_they_are(db: Session) -> None:
    """Server defaults, computed columns and other writers' columns are untouched."""
    upsert(db, COMMIT, [commit("a", "one")])
    assert (stored(db)["a"].made_by, stored(db)["a"].length) == ("the server", 3)
    upsert(db, COMMIT, [commit("a", "one", made_by="a person", seen_at=datetime(2020, 1, 1, tzinfo=UTC))])
    upsert(db, COMMIT, [commit("a", "three")])
    row = stored(db)["a"]
    assert (row.subject, row.made_by, row.length, row.seen_at.year) == ("three", "a person", 5, 2020)


def test_nothing_is_committed(engine: Engine) -> None:
    """G2: the rows belong to the window's transaction."""
    with Session(engine) as db:
        upsert(db, COMMIT, [commit("a")])
        db.rollback()
    with Session(engine) as db:
        assert stored(db) == {}


def test_a_connection_will_do(engine: Engine) -> None:
    """A host's own code may have no session."""
    with engine.begin() as connection:
        assert upsert(connection, COMMIT, [commit("a")]) == 1
    with Session(engine) as db:
        assert stored(db).keys() == {"a"}


def test_the_later_of_two_rows_with_one_key_wins(db: Session) -> None:
    """As if each had been written after the other, also where they name different columns."""
    rows = [commit("a", "old", made_by="x"), commit("b"), commit("a", "new")]
    assert upsert(db, COMMIT, rows) == 2
    assert (stored(db)["a"].subject, stored(db)["a"].made_by) == ("new", "x")


def test_rows_with_different_columns_are_all_written(db: Session) -> None:
    """An API leaves out what is empty."""
    upsert(db, COMMIT, [commit("a", made_by="a"), {"tenant_id": "acme", "sha": "b"}, commit("c", "c")])
    assert {sha: (row.subject, row.made_by) for sha, row in stored(db).items()} == {
        "a": ("", "a"),
        "b": (None, "the server"),
        "c": ("c", "the server"),
    }


def test_a_table_that_is_all_key_is_filled(db: Session) -> None:
    """There is nothing to update, so what is there stays."""
    upsert(db, LINK, [{"a": 1, "b": 2}])
    upsert(db, LINK, [{"a": 1, "b": 2}, {"a": 1, "b": 3}])
    assert sorted(db.execute(select(LINK)).all()) == [(1, 2), (1, 3)]


def test_more_rows_than_a_statement_has_parameters(db: Session) -> None:
    """30 000 rows of three columns pass the limits of both databases; any iterable will do."""
    assert upsert(db, COMMIT, (commit(f"{n:06d}", str(n)) for n in range(30_000))) == 30_000
    assert upsert(db, COMMIT, [commit(f"{n:06d}", "x") for n in range(30_000)]) == 30_000
    assert db.scalar(select(func.count()).where(COMMIT.c.subject == "x")) == 30_000


def test_keys_are_written_in_ascending_order(engine: Engine) -> None:
    """Two writers that meet lock rows in the same order, so neither waits for the other for ever."""
    written: list[str] = []

    @event.listens_for(engine, "before_execute")
    def remember(connection: Any, clause: Any, multiparams: Any, params: Any, options: Any) -> None:
        written.extend(row["sha"] for row in multiparams or [params])

    rows = [commit("d"), commit("b", made_by="x"), commit("a"), {"tenant_id": "acme", "sha": "c"}]
    with Session(engine) as db:
        upsert(db, COMMIT, rows)
    assert written == ["a", "b", "c", "d"]


def test_no_rows_begin_no_transaction(db: Session) -> None:
    """A window without news costs nothing."""
    assert upsert(db, COMMIT, []) == 0
    assert not db.in_transaction()


def test_a_mapped_class_takes_the_names_of_its_attributes(db: Session) -> None:
    """Rows are written as the class is written."""
    upsert(db, Author, [{"id": 1, "name": "Ann"}, {"id": 2, "name": "Bob", "joined": "2020"}])
    upsert(db, Author, [{"id": 1, "name": "Anna"}])
    found = [(author.id, author.name, author.joined) for author in db.scalars(select(Author).order_by(Author.id))]
    assert found == [(1, "Anna", None), (2, "Bob", "2020")]
    upsert(db, Author.__table__, [{"author_id": 3, "full_name": "Cy"}])
    assert db.get(Author, 3) is not None


class Color(Enum):
    RED = "r"
    BLUE = "b"


def test_keys_that_have_no_order_are_written_all_the_same(db: Session) -> None:
    """Enums and mixtures are ordered by their text."""
    assert upsert(db, LINK, [{"a": 2, "b": 1}, {"a": 1.0, "b": 1}]) == 2
    table = Table("colors", MetaData(), Column("c", Text, primary_key=True), Column("n", Integer))
    table.create(db.connection())
    assert upsert(db, table, [{"c": c.value} for c in Color]) == 2


@pytest.mark.parametrize(
    ("table", "rows", "problem"),
    [
        (COMMIT, [commit("a"), {"sha": "b"}], "row 2 for 'commits' lacks its primary key: tenant_id"),
        (COMMIT, [{}], "row 1 for 'commits' lacks its primary key: tenant_id, sha"),
        (COMMIT, [commit(None)], "row 1 for 'commits' lacks its primary key: sha"),  # type: ignore[arg-type]
        (COMMIT, [commit("a", "secret", subjekt="secret")], "row 1 for 'commits' names unknown columns: subjekt"),
        (COMMIT, [("acme", "a")], "row 1 for 'commits' must be a mapping of column names, not tuple"),
        (KEYLESS, [{"a": 1}], "needs a primary key, which the table 'keyless' has not"),
        (Author, [{"author_id": 1}], "row 1 for 'authors' names unknown columns: author_id"),
        ("commits", [], "needs a Table or a class mapped to one, not str"),
        (Session, [], "needs a Table or a class mapped to one, not Session"),
    ],
)
def test_what_cannot_be_written_is_told_before_anything_is(
    sqlite_url: str, table: Any, rows: list[Any], problem: str
) -> None:
    """The error names the row and the columns, never a value."""
    with Session(create_engine(sqlite_url)) as db:
        with pytest.raises(TenantcollectError) as refused:
            upsert(db, table, rows)
        assert problem in str(refused.value)
        assert "secret" not in str(refused.value)
        assert not db.in_transaction()


def test_another_database_is_refused_by_name() -> None:
    """Its upsert is spelt differently."""
    engine = create_engine("sqlite://")
    engine.dialect = mysql.dialect()
    with Session(engine) as db, pytest.raises(TenantcollectError, match="SQLite and PostgreSQL, not to mysql"):
        upsert(db, COMMIT, [commit("a")])


def test_a_session_with_several_databases_uses_that_of_the_table(sqlite_url: str) -> None:
    """A host may bind tables to engines of their own."""
    engine = create_engine(sqlite_url)
    METADATA.create_all(engine)
    with Session(binds={COMMIT: engine}) as db:
        upsert(db, COMMIT, [commit("a")])
        db.commit()
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(COMMIT)) == 1
    engine.dispose()
