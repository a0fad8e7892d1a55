"""What the two databases do differently, as one small contract (floor: backends)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Protocol

from attrs import frozen
from sqlalchemy import URL, Connection, Delete, Engine, FromClause, Insert, Row, Select, Update

from tenantcollect.backends.sql.schema import Tables
from tenantcollect.state import Claim

__all__ = ["PATIENCE", "WINDOW", "Crash", "Dialect", "Step", "Terms"]

Step = Insert | Update | Delete
Options = Mapping[str, Any]
Crash = Callable[[str], object]

WINDOW = "tenantcollect_window"
"""The execution option by which a connection knows the window whose transaction it carries."""


PATIENCE = "tenantcollect_patience"
"""The execution option that says whether to wait on for the turn to write (a ``Patience``)."""


@frozen(kw_only=True)
class Terms:
    """How windows use their database; the same for all of one backend."""

    role: str | None = None
    isolation: str = "READ COMMITTED"
    lock_timeout: timedelta
    idle_timeout: timedelta
    crash: Crash


class Dialect(Protocol):
    """A database's way to connect, to begin, and to do several steps as one."""

    name: ClassVar[str]
    one_writer: ClassVar[bool]
    """Whether writers of this process should queue here instead of in the database."""
    reading: ClassVar[Options]
    """Execution options of our own reads."""
    single: ClassVar[Options]
    """Execution options of one statement that commits itself."""
    hint: ClassVar[Options]
    """Added to either of these for what a crash of the whole machine may lose."""
    writing: ClassVar[Options]
    """Execution options of a transaction of several statements."""
    collector_reading: ClassVar[Options]
    """Execution options of a collector's short read-only transaction."""

    def engine(self, url: URL) -> Engine:
        """An engine of ours; nothing connects yet."""
        ...

    def schema(self, connection: Connection) -> str | None:
        """The schema our tables are in when nobody named one."""
        ...

    def insert(self, table: Any) -> Any:
        """An INSERT that knows ON CONFLICT."""
        ...

    def materialized(self, connection: Connection, statement: Select[Any] | Update, name: str) -> FromClause:
        """The rows of ``statement``, for other steps of the same transaction to read; it is done once."""
        ...

    def together(self, connection: Connection, steps: Sequence[Step]) -> Sequence[Row[Any]]:
        """Do ``steps``, in one statement where that is possible; the rows that the last one returns."""
        ...

    def window_options(self, isolation: str) -> Options:
        """Execution options of the transaction of a window."""
        ...

    def read_as(self, connection: Connection, tenant_id: str, role: str | None) -> None:
        """Bind a collector's read-only transaction to its tenant."""
        ...

    def begin_window(self, connection: Connection, tables: Tables, claim: Claim, terms: Terms) -> None:
        """Begin the transaction of a window and put its guard row in."""
        ...

    def end_window(self, connection: Connection) -> bool:
        """Undo what the collector may have changed in its transaction's settings; ours follows. False = something of
        its own may outlive the transaction, so that nobody else should meet this connection.
        """
        ...

    def break_window(self, connection: Connection) -> None:
        """Let the collector write nothing more through this connection, if that can be done at all."""
        ...

    def aborted(self, connection: Connection) -> bool:
        """Whether a failed statement has made the transaction unusable."""
        ...

    def idle(self, connection: Connection) -> bool:
        """Whether no other thread is inside a statement of this connection."""
        ...

    def cut(self, connection: Connection) -> None:
        """End, from another thread, what this connection is doing; it is thrown away afterwards."""
        ...

    def hurry(self, connection: Connection, within: timedelta) -> None:
        """Let the following statements of this transaction end within that time."""
        ...

    def evict(self, connection: Connection, tokens: Sequence[str]) -> None:
        """End the transactions that still carry one of ``tokens`` (liveness only, PROTOCOL 2.7)."""
        ...
