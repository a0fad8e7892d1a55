"""The few SQL expressions that SQLite and PostgreSQL write differently (floor: backends)."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    FromClause,
    Row,
    Select,
    Text,
    Update,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from tenantcollect.backends.sql.columns import BIG, KEY, LARGEST, Instant, as_text, dumped
from tenantcollect.errors import ConfigurationError
from tenantcollect.keys import Key, checked_name, checked_tenant

__all__ = [
    "KEY_COLUMNS",
    "NOT_NORMAL",
    "Clock",
    "EpochMicroseconds",
    "after",
    "among",
    "counted",
    "is_key",
    "kept",
    "key_of",
    "key_rows",
    "one_more",
    "rows",
    "same_key",
    "scope_of",
]

NOT_NORMAL = "tenant_id is not in Unicode normal form C, in which tenant ids are stored and compared"
KEY_COLUMNS: Mapping[str, TypeEngine[Any]] = {part: Text() for part in KEY}


class Clock(FunctionElement[datetime]):
    """The database's clock, or a number of seconds after it: leases never follow a worker's clock (PROTOCOL 2.9)."""

    inherit_cache = True
    type = Instant()


@compiles(Clock, "postgresql")
def _postgresql_clock(element: Clock, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"(clock_timestamp() + make_interval(secs => {seconds}))" if seconds else "clock_timestamp()"


@compiles(Clock, "sqlite")
def _sqlite_clock(element: Clock, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    later = f", {seconds} || ' seconds'" if seconds else ""
    # SQLite's clock has milliseconds; the text gets the length that all our times have.
    return f"(strftime('%Y-%m-%dT%H:%M:%f', 'now'{later}) || '000+00:00')"


class EpochMicroseconds(FunctionElement[int]):
    """The database's clock as a number."""

    inherit_cache = True
    type = BigInteger()


@compiles(EpochMicroseconds, "postgresql")
def _postgresql_epoch(_: EpochMicroseconds, __: SQLCompiler, **___: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"


@compiles(EpochMicroseconds, "sqlite")
def _sqlite_epoch(_: EpochMicroseconds, __: SQLCompiler, **___: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"


def after(seconds: float) -> Clock:
    """The database's clock in ``seconds`` from now."""
    return Clock(bindparam(None, seconds, type_=Double(), unique=True))


def rows(
    connection: Connection,
    name: str,
    columns: Mapping[str, TypeEngine[Any]],
    values: Iterable[Mapping[str, Any]],
) -> FromClause:
    """``values`` as a table of one parameter, so that one prepared statement serves any number of rows."""
    plain = [{key: _plain(value) for key, value in row.items()} for row in values]
    parameter = bindparam(None, dumped(plain), type_=Text(), unique=True)
    if connection.dialect.name == "sqlite":
        each = func.json_each(parameter).table_valued("value")
        parts = (_part(each.c.value, part, kind) for part, kind in columns.items())
        return select(*parts).subquery(name)
    recordset = func.json_to_recordset(cast(parameter, JSON))
    typed = (column(part, kind) for part, kind in columns.items())
    return recordset.table_valued(*typed, name=name).render_derived(with_types=True)


def kept(connection: Connection, statement: Select[Any] | Update, name: str) -> FromClause:
    """The rows of ``statement``, executed now, as a table."""
    columns = {column.key: column.type for column in statement.exported_columns if column.key}
    return rows(connection, name, columns, map(dict, connection.execute(statement).mappings()))


def _plain(value: Any) -> Any:
    return as_text(value) if isinstance(value, datetime) else value


def _part(value: ColumnElement[Any], part: str, kind: TypeEngine[Any]) -> ColumnElement[Any]:
    return func.json_extract(value, f"$.{part}", type_=kind).label(part)


def key_rows(connection: Connection, keys: Iterable[Key], name: str = "wanted") -> FromClause:
    """``keys`` as a table."""
    parts = ({part: getattr(key, part) for part in KEY} for key in keys)
    return rows(connection, name, KEY_COLUMNS, parts)


def is_key(table: FromClause, key: Key) -> ColumnElement[bool]:
    """Whether a row is of ``key``."""
    return and_(*(table.c[part] == getattr(key, part) for part in KEY))


def same_key(left: FromClause, right: FromClause) -> ColumnElement[bool]:
    """Whether two rows are of one key."""
    return and_(*(left.c[part] == right.c[part] for part in KEY))


def counted(count: ColumnElement[Any]) -> ColumnElement[int]:
    """A count as it is read; what is none, in a column that always has one, is nought."""
    return case((and_(count.between(0, LARGEST), count == cast(count, BIG)), count), else_=literal(0, BIG))


def one_more(count: ColumnElement[Any]) -> ColumnElement[int]:
    """The count after this one."""
    return counted(count) + 1


def key_of(row: Row[Any]) -> Key:
    """The key of a row; raises :class:`ConfigurationError` for one that no key has as its name."""
    key = Key(row.tenant_id, row.data_source, row.script)
    if key.tenant_id != row.tenant_id:
        raise ConfigurationError(NOT_NORMAL)
    return key


def scope_of(row: Row[Any]) -> tuple[str, str, str | None]:
    """The tenant, the data source and the script, if there is one, of a row; raises as :func:`key_of` does."""
    if checked_tenant(row.tenant_id) != row.tenant_id:
        raise ConfigurationError(NOT_NORMAL)
    script = getattr(row, "script", None)
    data_source = checked_name(row.data_source, "data_source")
    return row.tenant_id, data_source, None if script is None else checked_name(script, "script")


def among(connection: Connection, value: ColumnElement[Any], texts: Collection[str]) -> ColumnElement[bool]:
    """Whether ``value`` is one of ``texts``, however many they are."""
    listed = rows(connection, "listed", {"item": Text()}, ({"item": text} for text in sorted(texts)))
    return value.in_(select(listed.c.item))
