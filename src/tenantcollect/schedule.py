"""When to look at a key again, and the reasons not to run it (floor: contracts, below the state)."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol

from attrs import converters, field, frozen

from tenantcollect.keys import Key, Selection
from tenantcollect.secrets import storable
from tenantcollect.windows import utc

__all__ = ["Entry", "Hold", "Holds", "Schedule"]


@frozen(kw_only=True)
class Hold:
    """A reason not to run; ``script`` None = all of the data source, ``until`` None = until it is lifted, ``since``
    None = nobody knows any more.

    ``revision`` None = whatever the configuration; otherwise the hold speaks only while the source's
    configuration has this revision, so that correcting the configuration lifts it.
    """

    tenant_id: str
    data_source: str
    script: str | None = None
    reason: str
    since: datetime | None = field(converter=converters.optional(utc))
    until: datetime | None = field(default=None, converter=converters.optional(utc))
    detail: str = field(default="", converter=storable)
    revision: str | None = None

    def applies_to(self, key: Key) -> bool:
        """Whether ``key`` is one of those held."""
        return (self.tenant_id, self.data_source) == (key.tenant_id, key.data_source) and self.script in (
            None,
            key.script,
        )


@frozen(kw_only=True)
class Entry:
    """One row of the schedule. ``next_due_at`` None = parked until something is configured or installed.

    ``busy`` = leased by somebody, as far as the backend knows. ``triggered`` = somebody ordered it to run now.
    ``version`` moves on whenever somebody makes the key due.
    """

    key: Key
    next_due_at: datetime | None
    waiting: bool = False
    progress: str | None = None
    busy: bool = False
    triggered: bool = False
    version: int = 0


class Schedule(Protocol):
    """When to look at a key again. Hints: a lost one costs a poll, never a window."""

    def due(self, selection: Selection, *, now: datetime, limit: int) -> list[Entry]:
        """At most ``limit`` keys due at ``now``, tenants in turn: each tenant's first before any one's second.

        Busy keys come last. An idle pass asks this, and whether the catalog has changed (G9): it must be quick.
        """
        ...

    def defer(self, seen: Entry, until: datetime | None, *, waiting: bool = False, fence: int | None = None) -> None:
        """Look at the key again at ``until`` (None = parked), or when it is woken, if ``waiting``.

        Nothing happens when somebody made it due since it was ``seen`` (compare and set), or opened it after the
        holder of ``fence``: what was decided before is no answer to that.
        """
        ...

    def wake(self, keys: Collection[Key], *, at: datetime, every: bool = False) -> None:
        """Make those of ``keys`` that are waiting (``every``: all of them) due at ``at``, if not earlier."""
        ...

    def trigger(self, keys: Collection[Key], *, at: datetime) -> None:
        """Make ``keys`` due at ``at`` by order, also if due earlier; they stay ``triggered`` until they are deferred.

        One that runs now is due again afterwards.
        """
        ...

    def unpark(self, selection: Selection, *, at: datetime) -> None:
        """Make every selected key that is parked or waiting due at ``at``: something was configured or installed, or
        a process that should have woken them may have died.
        """
        ...

    def report(self, progress: Mapping[Key, str]) -> None:
        """Store one line of progress for keys that run now."""
        ...

    def entries(self, keys: Collection[Key]) -> Mapping[Key, Entry]:
        """The rows of ``keys``; ``busy`` as in :meth:`due`."""
        ...


class Holds(Protocol):
    """Reasons not to run; they are independent, lifting one leaves the others."""

    def place(self, hold: Hold) -> bool:
        """Store ``hold``; True if there was none with the same scope and reason, which it replaces."""
        ...

    def lift(self, selection: Selection, reasons: Collection[str]) -> list[Hold]:
        """Remove and return the holds of these reasons. With scripts selected only holds of those scripts."""
        ...

    def end(self, hold: Hold) -> bool:
        """Remove ``hold``, if it is still exactly as it was read; whether it was."""
        ...

    def held(self, tenant_ids: Collection[str] | None = None) -> list[Hold]:
        """Every stored hold, also one whose time is over."""
        ...
