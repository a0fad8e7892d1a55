"""The rows of the collectors' own tables, put in before a window and read back after it (floor: testing)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import URL, Column, DateTime, MetaData, NullPool, Table, create_engine, delete, event, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeDecorator, TypeEngine

from tenantcollect.errors import ConfigurationError
from tenantcollect.windows import utc

__all__ = ["Rows", "Seed", "Stored", "holds_instants"]

Row = dict[str, Any]
Rows = dict[str, list[Row]]
"""The rows of each table, by its name; in the order of the primary key."""
Seed = Mapping[Any, Sequence[Mapping[str, Any]]] | Callable[[Session], object]
"""Rows by table (its name, or the Table itself), or a function that writes them through a session."""


def holds_instants(kind: TypeEngine[Any]) -> bool | None:
    """Whether a column of this type has a time zone; None where it holds no date and time at all."""
    plain = kind.impl_instance if isinstance(kind, TypeDecorator) else kind
    return bool(plain.timezone) if isinstance(plain, DateTime) else None


class Stored:
    """The tables of some collectors in one database, by connections of its own."""

    def __init__(self, url: URL, tables: Iterable[MetaData]) -> None:
        self._engine = create_engine(url, poolclass=NullPool)
        if url.get_backend_name() == "postgresql":
            event.listen(self._engine, "connect", _in_utc)
            event.listen(self._engine, "before_cursor_execute", _overriding, retval=True)
        self.tables: dict[str, Table] = {
            table.fullname: table for metadata in tables for table in metadata.sorted_tables
        }

    def rows(self) -> Rows:
        """All that is durable in the collectors' tables; times of columns with a time zone are aware UTC."""
        with self._engine.connect() as connection:
            return {
                name: [_read(table, row._mapping) for row in connection.execute(_ordered(table))]
                for name, table in self.tables.items()
            }

    def seed(self, seed: Seed) -> None:
        """Put rows in, and commit them. Raises :class:`ConfigurationError` for what cannot be a row here."""
        if not callable(seed) and not isinstance(seed, Mapping):
            raise ConfigurationError(f"A seed is a mapping of table to rows, or a function, not {type(seed).__name__}.")
        with self._session() as db:
            if callable(seed):
                seed(db)
                return
            for named, rows in seed.items():
                table = self._table(named)
                table.create(db.connection(), checkfirst=True)
                for row in _checked(table, rows):
                    _sown(db, table, row)

    def put_back(self, rows: Rows) -> None:
        """Make the tables hold these rows, and no others."""
        with self._session() as db:
            for table in reversed(self.tables.values()):
                db.execute(delete(table))
            for name, table in self.tables.items():
                for some in _parents_first(table, rows.get(name, [])):
                    db.execute(insert(table), [_insertable(table, row) for row in some])

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with Session(self._engine) as db, db.begin():
            yield db

    def session(self) -> Any:
        """A session that commits at its end."""
        return self._session()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def _table(self, named: object) -> Table:
        if isinstance(named, Table):
            self.tables.setdefault(named.fullname, named)
            return named
        if named not in self.tables:
            known = ", ".join(self.tables) or "none"
            raise ConfigurationError(
                f"The seed names the table {named!r}; tables() has {known}. "
                "For a table of another package give the Table itself, not its name."
            )
        return self.tables[str(named)]


def _in_utc(driver: Any, _: object) -> None:
    driver.execute("SET TIME ZONE 'UTC'")
    driver.commit()


def _ordered(table: Table) -> Any:
    return select(table).order_by(*(table.primary_key.columns or table.columns))


def _read(table: Table, row: Mapping[Any, Any]) -> Row:
    return {column.key: _instant(column, row[column]) for column in table.columns}


def _instant(column: Column[Any], value: Any) -> Any:
    """SQLite keeps no time zone: what a column with one holds is UTC."""
    if not isinstance(value, datetime) or not holds_instants(column.type):
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _overriding(_connection: Any, _cursor: Any, sql: str, values: Any, _context: Any, _many: bool) -> tuple[str, Any]:
    """What was counted by GENERATED ALWAYS AS IDENTITY is put back as it was."""
    return sql.replace(") VALUES (", ") OVERRIDING SYSTEM VALUE VALUES (", 1) if sql.startswith(
        "INSERT"
    ) else sql, values


def _insertable(table: Table, row: Row) -> Row:
    """What of a row can be inserted: not what the database computes."""
    return {name: value for name, value in row.items() if table.columns[name].computed is None}


def _parents_first(table: Table, rows: list[Row]) -> Iterator[list[Row]]:
    """The rows in batches: those that refer to others of the same table after these."""
    links = [
        {element.parent.key: element.column.key for element in rule.elements}
        for rule in table.foreign_key_constraints
        if rule.referred_table is table
    ]
    left = rows
    while left:
        there = [{_held(row, link.values()) for row in left} for link in links]
        waiting = [row for row in left if any(_refers(row, *found) for found in zip(links, there, strict=True))]
        if len(waiting) == len(left):  # a circle: the database has to say what it thinks of it
            waiting = []
        yield [row for row in left if row not in waiting] if waiting else left
        left = waiting


def _held(row: Row, names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def _refers(row: Row, link: dict[str, str], there: set[tuple[Any, ...]]) -> bool:
    """Whether a row refers to one of those that are ``there``, and not to itself."""
    return _held(row, link) in there and _held(row, link) != _held(row, link.values())


def _checked(table: Table, rows: Any) -> list[Row]:
    """The rows of a seed. Raises :class:`ConfigurationError` for what cannot be any."""
    found: list[Any] = [] if isinstance(rows, Mapping) else list(rows)
    if isinstance(rows, Mapping) or not all(isinstance(row, Mapping) for row in found):
        raise ConfigurationError(f"The seed for {table.name!r} must be a list of rows, each a dict by column.")
    for row in found:
        if unknown := sorted(set(row) - set(table.columns.keys())):
            known = ", ".join(table.columns.keys())
            raise ConfigurationError(f"A seed for {table.name!r} names {unknown[0]!r}; its columns are {known}.")
    return [_written(table, row) for row in found]


def _sown(db: Session, table: Table, row: Row) -> None:
    try:
        db.execute(insert(table), [_insertable(table, row)])
    except SQLAlchemyError as error:
        said = getattr(error, "orig", None) or error
        raise ConfigurationError(f"A row of the seed for {table.name!r} cannot be stored: {said}") from error


def _written(table: Table, row: Mapping[str, Any]) -> Row:
    zoned = {column.key for column in table.columns if holds_instants(column.type)}
    return {
        name: utc(value, f"{name} of a seed for {table.name!r}")
        if name in zoned and isinstance(value, datetime)
        else value
        for name, value in row.items()
    }
