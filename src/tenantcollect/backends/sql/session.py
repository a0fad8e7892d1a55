"""``db``: a session whose commit joins the window and whose rollback and close fail it; and what ``context.read``
reads by (floor: backends).
"""

from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.watching import WatchedWindow, watch_statements

__all__ = ["OpenWindow", "WindowSession", "read_alone"]


class OpenWindow(Protocol):
    """What a session needs of the window it belongs to."""

    def connection(self) -> Connection:
        """The connection of the window, begun at the first call."""
        ...

    def refuse(self, deed: str) -> NoReturn:
        """Fail the window for ``deed``."""
        ...


class WindowSession(Session):
    """A SQLAlchemy session on the transaction of one window, which begins at the first use.

    ``commit()`` joins: nothing is durable before the seal. ``begin_nested()`` works as ever.
    """

    def __init__(self, window: OpenWindow) -> None:
        super().__init__(join_transaction_mode="rollback_only")
        self._window = window

    def get_bind(self, *_: Any, **__: Any) -> Connection:
        """The window's connection; raises :class:`TransactionBroken` once the window is over."""
        return self._window.connection()

    def rollback(self) -> NoReturn:
        """Fails the window: use ``begin_nested()`` to undo a part of it."""
        self._window.refuse("db.rollback()")

    def close(self) -> NoReturn:
        """Fails the window: it is not over before ``run`` returns."""
        self._window.refuse("db.close()")

    def reset(self) -> NoReturn:
        """Fails the window, as :meth:`close` does."""
        self._window.refuse("db.reset()")

    def invalidate(self) -> NoReturn:
        """Fails the window, as :meth:`close` does."""
        self._window.refuse("db.invalidate()")

    def prepare(self) -> NoReturn:
        """Fails the window: two-phase commits have no place in it."""
        self._window.refuse("db.prepare()")

    def finish(self) -> None:
        """Let go of everything; the window calls this when it is over."""
        super().close()


def read_alone(
    database: Database, window: WatchedWindow, tenant_id: str, role: str | None, statement: Any
) -> Sequence[Any]:
    """The rows of ``statement``, by a read-only transaction of its own, bound to the tenant and the role.

    It is rolled back: whatever a function may have set in the session is undone.
    """
    chosen = text(statement) if isinstance(statement, str) else statement
    with database.connect(database.dialect.collector_reading) as connection:
        connection.begin()  # before anything is watched: on SQLite it sends a BEGIN
        database.dialect.read_as(connection, tenant_id, role)
        unwatch = watch_statements(connection, window)
        try:
            with Session(connection, join_transaction_mode="rollback_only") as session:
                return session.execute(chosen).all()
        finally:
            unwatch()
