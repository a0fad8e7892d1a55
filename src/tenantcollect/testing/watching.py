"""What a collector does in its window, seen from outside: points it passes, statements it sends (floor: testing)."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from attrs import define, field
from sqlalchemy import Connection, Table, event
from sqlalchemy.orm import Session
from sqlalchemy.types import NullType, TypeDecorator

from tenantcollect.testing.stored import holds_instants

__all__ = ["Sent", "WatchedContext"]

CHANGES = ("UPDATE", "DELETE")


class WatchedContext:
    """A context that tells which point is reached before it does what is asked of it."""

    def __init__(self, context: Any, at: Callable[[str], object], said: list[str], kept: list[str]) -> None:
        vars(self).update(_context=context, _at=at, _said=said, _kept=kept)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._context, name, value)

    def read(self, statement: Any) -> Sequence[Any]:
        """See :meth:`tenantcollect.collectors.Context.read`."""
        self._at("read")
        rows: Sequence[Any] = self._context.read(statement)
        return rows

    def checkpoint(self, until: datetime | None = None) -> None:
        """See :meth:`tenantcollect.collectors.Context.checkpoint`."""
        self._at("checkpoint")
        self._kept.append(repr((self._context.cursor, self._context.resume)))
        self._context.checkpoint(until)

    def raise_if_cancelled(self) -> None:
        """See :meth:`tenantcollect.collectors.Context.raise_if_cancelled`."""
        self._at("raise_if_cancelled")
        self._context.raise_if_cancelled()

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """See :meth:`tenantcollect.collectors.Context.progress`."""
        self._at("progress")
        self._said.append(message)
        self._context.progress(done, total, message)

    def warn(self, message: str) -> None:
        """See :meth:`tenantcollect.collectors.Context.warn`."""
        self._at("warn")
        self._said.append(str(message))
        self._context.warn(message)


@define
class Sent:
    """What a window sends to the database through ``db``.

    ``wrong`` is every date and time that was bound where it does not fit; ``changes`` are the texts of the statements
    that update or delete. ``tables`` are those of the collectors.
    """

    tables: Collection[Table] = ()
    wrong: list[str] = field(factory=list)
    changes: dict[str, None] = field(factory=dict)

    def watch(self, db: Session) -> None:
        """Look at every statement that is sent through ``db``."""
        event.listen(db, "after_begin", self._begun)

    def _begun(self, _session: Session, _transaction: Any, connection: Connection) -> None:
        if not event.contains(connection, "before_cursor_execute", self._sent):
            event.listen(connection, "before_cursor_execute", self._sent)

    def _sent(self, _connection: Any, _cursor: Any, sql: str, _values: Any, context: Any, _many: bool) -> None:
        if sql.lstrip()[:6].upper() in CHANGES:
            self.changes[sql] = None
        compiled = getattr(context, "compiled", None)
        if compiled is None:
            return
        for values in context.compiled_parameters:
            for bind, name in compiled.bind_names.items():
                value = _bound(bind.type, values.get(name), context.dialect)
                if isinstance(value, datetime) and (problem := self._problem(bind.type, value)):
                    self.wrong.append(f"{name} = {value.isoformat()}: {problem}")

    def _problem(self, kind: Any, value: datetime) -> str | None:
        zoned, offset = holds_instants(kind), value.utcoffset()
        if zoned is None and not isinstance(kind, NullType):
            return None
        if not zoned and not self._declares(kind):  # a text(), or a literal: nobody knows its column
            zoned = bool(offset) or (isinstance(kind, NullType) and self._zoned()) or None
        if zoned and offset is None:
            return "a naive datetime names no instant; use datetime.now(UTC), or .replace(tzinfo=UTC) if it is UTC"
        if zoned and offset:
            return "not in UTC, and SQLite keeps no time zone; use .astimezone(UTC)"
        if zoned is False and offset is not None:
            return "an aware datetime for a column without a time zone; declare DateTime(timezone=True)"
        return None

    def _declares(self, kind: Any) -> bool:
        return any(kind is column.type for table in self.tables for column in table.columns)

    def _zoned(self) -> bool:
        """Whether any column has a time zone."""
        return any(holds_instants(column.type) for table in self.tables for column in table.columns)


def _bound(kind: Any, value: Any, dialect: Any) -> Any:
    """The value as a decorated type hands it on, if it changes any."""
    if not isinstance(kind, TypeDecorator) or type(kind).process_bind_param is TypeDecorator.process_bind_param:
        return value
    return kind.process_bind_param(value, dialect)
