"""The types of our columns (floor: backends).

Every time is an aware UTC datetime with microseconds, every number a BIGINT, every JSON value a text of JSON: what
a person edited by hand can then always be read, and is judged by our code instead of a driver. What a column cannot
hold reads as None: where that may stand, as if it were not there; elsewhere ``readings`` tells.
"""

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import TIMESTAMP, BigInteger, ColumnElement, Dialect, Integer, String, Text, TypeDecorator
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from tenantcollect.errors import ConfigurationError
from tenantcollect.windows import utc

__all__ = [
    "BIG",
    "IDENTITY",
    "KEY",
    "KEY_PART",
    "LARGEST",
    "Duration",
    "Instant",
    "Json",
    "Prose",
    "Utc",
    "Words",
    "as_text",
    "dumped",
]

KEY = ("tenant_id", "data_source", "script")
LARGEST = 2**62
"""No count of ours grows beyond it: one more always fits a BIGINT."""
LONGEST = timedelta(days=36_600)
"""No length of time of ours is longer: it can be added to any time that anything is planned for."""


def as_text(moment: datetime) -> str:
    """How SQLite stores a time: all of one length, so that texts compare as times do."""
    return utc(moment).isoformat(timespec="microseconds")


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime; a naive one is refused. A text that is none reads as None."""

    impl = TIMESTAMP
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        kind: TypeEngine[Any] = String(32) if dialect.name == "sqlite" else TIMESTAMP(timezone=True)
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return as_text(value) if dialect.name == "sqlite" else utc(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's
        if value is None:
            return None
        try:
            return utc(value if isinstance(value, datetime) else datetime.fromisoformat(value))
        except (TypeError, ValueError, ConfigurationError):
            return None


class Utc(Instant):
    """An :class:`Instant` in a column: what Python cannot hold, such as ``infinity``, reads as None."""

    cache_ok = True

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return _Readable(column)


class _Readable(FunctionElement[datetime]):
    inherit_cache = True
    type = Instant()


@compiles(_Readable)
def _any_time(element: _Readable, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_Readable, "postgresql")
def _time_that_python_can_hold(element: _Readable, compiler: SQLCompiler, **options: Any) -> str:
    value = compiler.process(element.clauses, **options)
    return f"CASE WHEN {value} BETWEEN '0001-01-02 00:00Z' AND '9999-12-31 00:00Z' THEN {value} END"


class _Big(TypeDecorator[int]):
    """A count. Every integer goes as int8: psycopg would choose by value, and prepare a statement per combination."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "sqlite":
            return value
        from psycopg.types.numeric import Int8

        return Int8(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's
        return value if isinstance(value, int) and 0 <= value <= LARGEST else None


class Duration(TypeDecorator[timedelta]):
    """A length of time, stored in microseconds."""

    impl = _Big
    cache_ok = True

    def process_bind_param(self, value: timedelta | None, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's
        return None if value is None else value // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Dialect) -> timedelta | None:  # noqa: ARG002
        length = None if value is None else timedelta(microseconds=value)
        return length if length is not None and length <= LONGEST else None


class Words(TypeDecorator[str]):
    """A text of limited length."""

    impl = String
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        return value if isinstance(value, str) else None


class Prose(Words):
    """A text of any length."""

    impl = Text
    cache_ok = True


class Json(TypeDecorator[Any]):
    """A value as JSON text. None is NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        return None if value is None else dumped(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's
        try:
            return None if value is None else json.loads(value, parse_constant=_refused)
        except (TypeError, ValueError, RecursionError):
            return None


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def dumped(value: Any) -> str:
    """``value`` as JSON text; raises :class:`ConfigurationError` for what JSON cannot say."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"this value cannot be stored as JSON: {type(error).__name__}") from None


BIG = _Big()
# SQLite numbers rows by itself only in a column of exactly this type.
IDENTITY = BigInteger().with_variant(Integer(), "sqlite")
# Keys must be in the same order everywhere, that of code points, whatever the locale of the database.
KEY_PART = String(200).with_variant(String(200, collation="C"), "postgresql")
