"""What a collector's connection refuses before it is sent (floor: backends; PROTOCOL 7, level 0).

It protects against mistakes, not against attacks: the guard row does that. The listeners sit on the connection
object of one window, never on the host's engine (G10).
"""

import re
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from sqlalchemy import Connection, event

__all__ = ["WatchedWindow", "watch"]

# ROLLBACK TO a savepoint is no mistake; SET LOCAL ROLE is undone before the seal.
REFUSED = re.compile(
    r"(?:\s|;|--[^\n]*\n|/\*.*?\*/)*("
    r"COMMIT|END|ABORT|BEGIN|START\s+TRANSACTION|PREPARE\s+TRANSACTION|ROLLBACK(?!\s+(?:WORK\s+|TRANSACTION\s+)?TO\b)"
    r"|SET\s+(?:SESSION\s+)?(?:ROLE|AUTHORIZATION)|SET\s+(?:LOCAL\s+|SESSION\s+)?tenantcollect\."
    r"|RESET|DISCARD)\b",
    re.IGNORECASE | re.DOTALL,
)


class WatchedWindow(Protocol):
    """The window whose connection is watched."""

    def refuse(self, deed: str) -> NoReturn:
        """Fail the window for ``deed``."""
        ...

    def was_used(self) -> None:
        """A statement is sent by this thread."""
        ...

    def was_rolled_back(self, connection: Connection) -> None:
        """The transaction is being rolled back."""
        ...


def watch(connection: Connection, window: WatchedWindow, is_ours: Callable[[], bool]) -> None:
    """Tell ``window`` what is done with its ``connection``, but for what we do ourselves."""

    def before_statement(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        window.was_used()
        refused = REFUSED.match(statement)
        if refused and not is_ours():
            window.refuse(" ".join(refused.group(1).split()).upper())

    def before_commit(_: Connection) -> None:
        if not is_ours():
            window.refuse("commit() of its connection")

    def at_rollback(rolled_back: Connection) -> None:
        if not is_ours():
            window.was_rolled_back(rolled_back)

    event.listen(connection, "before_cursor_execute", before_statement)
    event.listen(connection, "commit", before_commit)
    event.listen(connection, "rollback", at_rollback)
