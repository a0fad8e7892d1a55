"""``db``: a session whose commit joins the window and whose rollback and close fail it (floor: backends)."""

from typing import Any, NoReturn, Protocol

from sqlalchemy import Connection
from sqlalchemy.orm import Session

__all__ = ["OpenWindow", "WindowSession"]


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
