"""The rows of the collectors' own tables, put in before a window and read back after it (floor: testing)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import URL, Column, DateTime, MetaData, NullPool, Table, create_engine, delete, event, insert, select
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
        self.tables: dict[str, Table] = {
            table.fullname: table for metadata in tables for table in metadata.sorted_tables
        }

    @property
    def zoned(self) -> bool:
        """Whether any column has a time zone."""
        return any(holds_instants(column.type) for table in self.tables.values() for column in table.columns)

    def rows(self) -> Rows:
        """All that is durable in the collectors' tables; times of columns with a time zone are aware UTC."""
        with self._engine.connect() as connection:
            return {
                name: [_read(table, row._mapping) for row in connection.execute(_ordered(table))]
                for name, table in self.tables.items()
            }

    def seed(self, seed: Seed) -> None:
        """Put rows in, and commit them. Raises :class:`ConfigurationError` for what cannot be a row here."""
        with self._session() as db:
            if callable(seed):
                seed(db)
                return
            for named, rows in seed.items():
                table = self._table(named)
                table.create(db.connection(), checkfirst=True)
                if rows:
                    db.execute(insert(table), [_written(table, row) for row in rows])

    def put_back(self, rows: Rows) -> None:
        """Make the tables hold these rows, and no others."""
        with self._session() as db:
            for table in reversed(self.tables.values()):
                db.execute(delete(table))
            for name, table in self.tables.items():
                if rows[name]:
                    db.execute(insert(table), rows[name])

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


def _written(table: Table, row: Mapping[str, Any]) -> Row:
    zoned = {column.key for column in table.columns if holds_instants(column.type)}
    return {
        name: utc(value, f"{name} of a seed for {table.name!r}")
        if name in zoned and isinstance(value, datetime)
        else value
        for name, value in row.items()
    }
