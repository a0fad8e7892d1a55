"""Watches a connection while a collector may use it, through SQLAlchemy and through the driver (floor: backends).

The listeners sit on the connection object of one window, never on the host's engine, and the driver's connection is
as the host knows it when the window is over (G10).
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, NoReturn, Protocol

from attrs import define, field
from sqlalchemy import Connection, event

from tenantcollect.backends.sql.refusals import refusal
from tenantcollect.errors import TransactionBroken

__all__ = ["Watch", "WatchedWindow", "watch", "watch_statements"]

Judge = Callable[[str], None]
Met = Callable[[BaseException], None]
Unwatch = Callable[[], None]
FACTORIES = ("cursor_factory", "server_cursor_factory")
SENDING = ("execute", "executemany", "stream", "copy")
# What a collector may set on the driver's connection, and others would stumble over.
SETTINGS = ("row_factory", "text_factory", "isolation_level", "autocommit", "prepare_threshold", "prepared_max")


class WatchedWindow(Protocol):
    """The window whose connection is watched."""

    def refuse(self, deed: str, error: type[TransactionBroken]) -> NoReturn:
        """Fail the window for ``deed``, with an ``error``."""
        ...

    def was_used(self) -> None:
        """A statement is sent by this thread."""
        ...

    def was_hit(self, error: BaseException) -> None:
        """A statement met ``error``."""
        ...

    def was_rolled_back(self, connection: Connection) -> None:
        """The transaction is being rolled back."""
        ...


@define(eq=False)
class Watch:
    """What is watched of one window, and how its driver's connection was before."""

    _connection: Connection
    _unwatch: Unwatch
    _driver: Any = field(init=False)
    _found: dict[str, Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._driver = self._connection.connection.driver_connection
        self._found = {name: getattr(self._driver, name) for name in SETTINGS if hasattr(self._driver, name)}

    @property
    def closed_by_hand(self) -> bool:
        """Whether the collector closed the connection, rather than the server or the network."""
        if getattr(self._driver, "closed", False):
            return not self._driver.broken
        given_back = not self._connection.invalidated and self._connection.connection.driver_connection is None
        return self._connection.closed or given_back

    def restored(self) -> bool:
        """Give the driver's connection the settings back that it had; False = the collector had changed one."""
        as_found = True
        for name, value in self._found.items():
            with suppress(Exception):  # one that is closed tells nothing, and is used by nobody
                if getattr(self._driver, name) != value:
                    as_found = False
                    setattr(self._driver, name, value)
        return as_found

    def end(self) -> bool:
        """Watch no more, and leave the driver's connection as it was; False = the collector had changed it."""
        self._unwatch()
        return self.restored()


def watch(connection: Connection, window: WatchedWindow, is_ours: Callable[[], bool]) -> Watch:
    """Tell ``window`` what is done with its ``connection``, but for what we do ourselves."""

    def judge(statement: str) -> None:
        window.was_used()
        if not is_ours():
            _refuse(window, statement)

    def before_commit(_: Connection) -> None:
        if not is_ours():
            window.refuse("commit() of its connection", TransactionBroken)

    def at_rollback(rolled_back: Connection) -> None:
        if not is_ours():
            window.was_rolled_back(rolled_back)

    event.listen(connection, "commit", before_commit)
    event.listen(connection, "rollback", at_rollback)
    return Watch(connection, _judged(connection, judge, window.was_hit))


def watch_statements(connection: Connection, window: WatchedWindow) -> Unwatch:
    """Refuse statements only: for a connection on which the window only reads."""
    return _judged(connection, lambda statement: _refuse(window, statement), window.was_hit)


def _refuse(window: WatchedWindow, statement: str) -> None:
    found = refusal(statement)
    if found is not None:
        window.refuse(found.deed, found.error)


def _judged(connection: Connection, judge: Judge, met: Met) -> Unwatch:
    def before_statement(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        judge(statement)

    event.listen(connection, "before_cursor_execute", before_statement)
    return _judge_cursors(connection.connection.driver_connection, judge, met)


def _judge_cursors(driver: Any, judge: Judge, met: Met) -> Unwatch:
    """Let psycopg's connection make cursors that ask ``judge`` first, and tell what they ``met``; SQLite's engine and
    authorizer do the same.
    """
    found = {name: getattr(driver, name, None) for name in FACTORIES}
    own = {name: factory for name, factory in found.items() if isinstance(factory, type)}
    for name, factory in own.items():
        setattr(driver, name, _judging(factory, judge, met))

    def unwatch() -> None:
        with suppress(Exception):  # a connection that is gone needs no restoring
            for name, factory in own.items():
                setattr(driver, name, factory)

    return unwatch


def _judging(kind: type, judge: Judge, met: Met) -> Callable[..., Any]:
    def make(*arguments: Any, **options: Any) -> Any:
        cursor = _watched(kind)(*arguments, **options)
        cursor.judge, cursor.met = judge, met
        return cursor

    return make


@cache
def _watched(kind: type) -> type:
    """The cursor class ``kind``, whose every way to send a statement goes by the cursor's judge."""
    methods = {name: _asking(getattr(kind, name)) for name in SENDING if hasattr(kind, name)}
    return type(f"Watched{kind.__name__}", (kind,), methods)


def _asking(method: Callable[..., Any]) -> Callable[..., Any]:
    def send(cursor: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        cursor.judge(_text(query, cursor))
        try:
            return method(cursor, query, *arguments, **options)
        except Exception as error:
            cursor.met(error)
            raise

    return send


def _text(query: Any, cursor: Any) -> str:
    """A query of psycopg as text: it may also be bytes, composed, or a template."""
    if isinstance(query, str):
        return query
    if isinstance(query, bytes):
        return query.decode("utf-8", "replace")
    return query.as_string(cursor) if hasattr(query, "as_string") else "?".join(getattr(query, "strings", ()))
