"""Writes rows that may be there already (floor: contracts; the one part of the face that needs SQLAlchemy)."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Column, Connection, Table, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapper, Session

from tenantcollect.errors import TenantcollectError

__all__ = ["upsert"]

ROWS_AT_ONCE = 1000
"""Bounds what is prepared in memory. Rows go as sets of parameters, so a database's limit on those of one
statement does not count; one statement with many VALUES was measured ten times slower to build."""

INSERTS = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}

Row = Mapping[str, Any]


def upsert(db: Session | Connection, table: Any, rows: Iterable[Row]) -> int:
    """Insert ``rows`` into ``table`` (a Table or a mapped class), or update those whose primary key is there.

    Returns how many distinct rows were written. A row is a mapping of column names; an update sets what the
    row names and leaves all other columns, such as those filled by the server, as they are. Of rows with the
    same primary key the later wins. Keys are written in ascending order, so that two writers do not deadlock.
    Nothing is committed, nothing read back; no rows, no statement.

    Raises :class:`TenantcollectError` for a row without a whole primary key or with an unknown column, a
    table without a primary key, and a database that is neither SQLite nor PostgreSQL.
    """
    target, columns = _columns(table)
    keys = [name for name, column in columns.items() if column.primary_key]
    if not keys:
        raise TenantcollectError(f"upsert() needs a primary key, which the table {target.name!r} has not")
    distinct = _distinct(rows, target, columns, keys)
    if distinct:
        insert = INSERTS.get(_dialect(db, target))
        if insert is None:
            raise TenantcollectError(f"upsert() writes to SQLite and PostgreSQL, not to {_dialect(db, target)}")
        for names, some in _batches(distinct):
            statement = _statement(insert(target), target, [columns[name] for name in names])
            db.execute(statement, [{columns[name].key: row[name] for name in names} for row in some])
    return len(distinct)


def _columns(table: Any) -> tuple[Table, dict[str, Column[Any]]]:
    """The table, and its columns under the names that rows may use for them."""
    if isinstance(table, Table):
        return table, {column.key: column for column in table.columns}
    mapper = inspect(table, raiseerr=False)
    if not isinstance(mapper, Mapper) or not isinstance(mapper.local_table, Table):
        kind = table.__name__ if isinstance(table, type) else type(table).__name__
        raise TenantcollectError(f"upsert() needs a Table or a class mapped to one, not {kind}")
    own = mapper.local_table
    return own, {
        attribute.key: column
        for attribute in mapper.column_attrs
        for column in attribute.columns
        if isinstance(column, Column) and column.table is own
    }


def _distinct(rows: Iterable[Row], table: Table, columns: Collection[str], keys: Sequence[str]) -> list[Row]:
    """The rows by ascending primary key, each once; values are never named, they may be secret."""
    by_key: dict[tuple[Any, ...], Row] = {}
    for number, row in enumerate(rows, 1):
        where = f"row {number} for {table.name!r}"
        if not isinstance(row, Mapping):
            raise TenantcollectError(f"{where} must be a mapping of column names, not {type(row).__name__}")
        if unknown := [str(name) for name in row if name not in columns]:
            raise TenantcollectError(f"{where} names unknown columns: {', '.join(unknown)}")
        if missing := [name for name in keys if row.get(name) is None]:
            raise TenantcollectError(f"{where} lacks its primary key: {', '.join(missing)}")
        key = tuple(row[name] for name in keys)
        # Merged, as the database would have done had both been written one after the other.
        by_key[key] = {**by_key[key], **row} if key in by_key else row
    return [by_key[key] for key in _ascending(by_key)]


def _ascending(keys: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    keys = list(keys)
    try:
        return sorted(keys)
    except TypeError:  # enums, or a mixture: any order will do that every writer agrees on
        return sorted(keys, key=repr)


def _batches(rows: Sequence[Row]) -> Iterator[tuple[list[str], Sequence[Row]]]:
    """Neighbours that name the same columns, some at a time; the order of the primary key is kept."""
    for names, group in groupby(rows, key=sorted):
        same = list(group)
        for begin in range(0, len(same), ROWS_AT_ONCE):
            yield names, same[begin : begin + ROWS_AT_ONCE]


def _statement(insert: Any, table: Table, columns: Sequence[Column[Any]]) -> Any:
    updated = {column.key: insert.excluded[column.key] for column in columns if not column.primary_key}
    target = list(table.primary_key.columns)
    if not updated:
        return insert.on_conflict_do_nothing(index_elements=target)
    return insert.on_conflict_do_update(index_elements=target, set_=updated)


def _dialect(db: Session | Connection, table: Table) -> str:
    bind = db if isinstance(db, Connection) else db.get_bind(clause=table)
    return bind.dialect.name
