"""The state of every key, and the one transaction a window lives in (floor: contracts).

The fence belongs here: whoever opened a key last is the only one who can seal it (G2, G3). A backend remembers
and compares; it decides nothing. What it must do is proven by ``tenantcollect.testing.StateSuite``.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from attrs import converters, evolve, field, frozen

from tenantcollect.keys import Key, Selection
from tenantcollect.schedule import Holds, Schedule
from tenantcollect.secrets import storable
from tenantcollect.windows import NOTHING, Window, WindowSet, utc

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = [
    "Change",
    "Claim",
    "Failure",
    "HistoryRow",
    "KeyState",
    "NewKey",
    "Opening",
    "Resume",
    "Revision",
    "Seal",
    "State",
    "Status",
    "WindowTransaction",
]

JSON = Any
"""A value that ``json.dumps`` takes."""


def _storable(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(storable(text) for text in texts)


class Status(StrEnum):
    """The ADR's status of a key (PENDING, COMPLETED, FAILED) and of an attempt (the last four)."""

    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    ABANDONED = "ABANDONED"
    REPLAYED = "REPLAYED"


@frozen(kw_only=True)
class NewKey:
    """A key to be made, if it is not there: its history start (UTC) never moves again but by backfill."""

    key: Key
    history_start: datetime = field(converter=utc)


@frozen(kw_only=True)
class Resume:
    """Where a window goes on after ``checkpoint()``: its bounds, planned again as they are, and the value."""

    window: Window
    value: JSON


@frozen(kw_only=True)
class KeyState:
    """One state row, as read. ``problem`` = why it cannot be trusted; ``coverage`` None, ``history_lost`` = lost."""

    key: Key
    history_start: datetime
    coverage: WindowSet | None = NOTHING
    problem: str | None = None
    history_lost: bool = False
    window_seq: int = 0
    fence: int = 0
    status: Status = Status.PENDING
    cursor: JSON = field(default=None, repr=False)
    resume: Resume | None = field(default=None, repr=False)
    started_at: datetime | None = None
    completed_at: datetime | None = None
    reason: str | None = None
    error: str | None = None
    failures: int = 0
    first_failure_at: datetime | None = None
    retry_at: datetime | None = None
    window_limit: timedelta | None = None
    last_record_at: datetime | None = None
    last_fetched_data_date: datetime | None = None
    open_window: Window | None = None
    opened_at: datetime | None = None


@frozen(kw_only=True)
class Opening:
    """What a lease holder asks for: the right to run ``window``, if ``window_seq`` is still what it has read.

    ``previous`` is the token of the lease that was taken over, whose transaction may still be alive.
    """

    key: Key
    token: str
    owner: str
    window_seq: int
    window_id: str
    window: Window
    attempt: int = 1
    previous: str | None = None


@frozen(kw_only=True)
class Claim:
    """The right to seal one window of one key: granted by opening, moved on by a seal, ended by the next opening."""

    key: Key
    token: str
    owner: str
    fence: int
    window_seq: int
    window_id: str
    window: Window
    attempt: int = 1
    started_at: datetime

    def onto(self, window: Window) -> "Claim":
        """The claim of ``window`` that a seal of this one opens; when it began, the commit will tell."""
        return evolve(self, window_seq=self.window_seq + 1, window_id=str(uuid4()), window=window, attempt=1)

    def again(self) -> "Claim":
        """The claim of the next attempt at the same window, which a failure of this one opens."""
        return evolve(self.onto(self.window), attempt=self.attempt + 1)


@frozen(kw_only=True)
class Seal:
    """What becomes true with the one commit of a window, computed above the backend.

    ``window`` is the part that is sealed, ``next`` the claim that goes on from there, opened by the same commit.
    ``cursor`` is a one-element tuple with the new value; None keeps the stored one, as that of ``last_record_at``.
    """

    window: Window
    coverage: WindowSet
    last_fetched_data_date: datetime | None = field(converter=converters.optional(utc))
    cursor: tuple[JSON] | None = None
    window_limit: timedelta | None = None
    records: int | None = None
    warnings: tuple[str, ...] = field(default=(), converter=_storable)
    last_record_at: datetime | None = field(default=None, converter=converters.optional(utc))
    next: Claim | None = None


@frozen(kw_only=True)
class Failure:
    """What is stored of an attempt that did not seal; its texts are made storable, so that no backend can meet a NUL.
    ``failed`` False leaves the key's status as it was; ``next`` is the claim of an attempt that begins at once.
    """

    reason: str
    error: str = field(converter=storable)
    failed: bool = True
    failures: int = 0
    first_failure_at: datetime | None = field(default=None, converter=converters.optional(utc))
    retry_at: datetime | None = field(default=None, converter=converters.optional(utc))
    window_limit: timedelta | None = None
    warnings: tuple[str, ...] = field(default=(), converter=_storable)
    next: Claim | None = None


@frozen(kw_only=True)
class Revision:
    """What a command changes in a key (backfill, replay, erase, pause).

    It raises the fence and moves ``window_seq`` on: the seal of a plan made before would write the old coverage back.
    None leaves a part as it is, but for ``last_fetched_data_date``, which goes with ``coverage``. ``restart`` drops
    the resume point: the unfinished window begins anew. ``forget`` makes the key as new: resume point, cursor,
    failures, error and last record go, and it is PENDING. ``replayed`` leaves a REPLAYED history row.
    """

    history_start: datetime | None = field(default=None, converter=converters.optional(utc))
    coverage: WindowSet | None = None
    last_fetched_data_date: datetime | None = field(default=None, converter=converters.optional(utc))
    restart: bool = False
    forget: bool = False
    replayed: Window | None = None


Change = Callable[[KeyState], Revision | None]
"""What a command makes of a key, told how it stands; pure, and asked while the key is locked."""


@frozen(kw_only=True)
class HistoryRow:
    """One attempt, exactly as it ended (G8). ``started_at`` and ``completed_at`` are the state's clock, UTC."""

    window_id: str
    key: Key
    window_seq: int
    fence: int
    worker: str
    attempt: int
    window: Window
    started_at: datetime
    completed_at: datetime
    status: Status
    reason: str | None = None
    records: int | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None


class WindowTransaction(Protocol):
    """The one transaction of a window: nothing is sent before the first use of the session (PROTOCOL 2.10).

    It serves one call of ``run``; a seal with a next window, and a checkpoint, re-arm it for what follows.
    """

    claim: Claim

    def session(self) -> "Session":
        """``db``: a session whose commit joins the window and whose rollback and close fail it."""
        ...

    def read(self, statement: Any) -> Sequence[Any]:
        """The rows of a select, by a short read-only transaction of its own."""
        ...

    def translate(self, error: BaseException) -> BaseException:
        """What an error of the collector's SQL means, if the database failed or our transaction ended; else itself."""
        ...

    def vouches(self, error: BaseException) -> bool:
        """Whether ``error`` was raised by this transaction itself, so that it is the database's word (G4)."""
        ...

    def seal(self, seal: Seal) -> Claim | None:
        """Commit rows, coverage, cursor and history at once; the claim of the next window, if one was named.

        Raises :class:`LeaseLost`, :class:`TransactionBroken`, :class:`TransactionConflict`,
        :class:`OutcomeUnknown`, :class:`DatabaseUnavailable`. After any of them nothing more can be done here.
        """
        ...

    def checkpoint(self, resume: Resume) -> Claim:
        """Commit rows and the resume point, not the coverage; the claim to go on with.

        It moves ``window_seq`` on, so that one whose reply was lost is not made twice. Raises as :meth:`seal`.
        """
        ...

    def abandon(self) -> None:
        """Roll back and let go; also when sealed already, from any thread, and twice."""
        ...


class State(Protocol):
    """1. ``ensure`` never changes a key that is there. 2. Opening raises the fence; every older claim is dead.
    3. Opening, sealing and closing need the ``window_seq`` that was read. 4. A seal is all or nothing.
    5. ``outcome`` and ``standing`` wait for what is in doubt. 6. Times are UTC to the microsecond. 7. Error texts
    are stored as given, cut at 4000 characters. 8. A row that cannot be trusted is returned with ``problem``, not
    raised.
    """

    @property
    def schedule(self) -> Schedule:
        """When to look at a key again."""
        ...

    @property
    def holds(self) -> Holds:
        """Reasons not to run."""
        ...

    def now(self) -> datetime:
        """The state's own clock (UTC), the one that times everything unless the host injects another."""
        ...

    def ensure(self, keys: Iterable[NewKey], *, due_at: datetime) -> int:
        """Make the keys that are not there, due at ``due_at``, and what the schedule has lost; how many were made."""
        ...

    def load(self, which: Selection | Collection[Key]) -> Iterator[KeyState]:
        """The states of those keys that are there, in the order of keys, streamed."""
        ...

    def open(self, openings: Sequence[Opening]) -> list[Claim]:
        """Raise the fence of each key whose ``window_seq`` is as read; those left out have moved on.

        An opened window that its holder neither sealed nor failed gets its ABANDONED history row (G8).
        """
        ...

    def transaction(self, claim: Claim) -> WindowTransaction:
        """The transaction for the window of ``claim``; nothing is sent yet."""
        ...

    def close(self, claim: Claim, failure: Failure | None = None) -> Claim | None:
        """End the claim of a window that did not seal; without ``failure`` it never ran, and leaves no history.

        The claim of the next attempt is returned, if the failure names one. A failure moves ``window_seq`` on: whoever
        decided before it knew nothing of its back-off. Raises :class:`LeaseLost`.
        """
        ...

    def outcome(self, claim: Claim) -> bool:
        """Whether the commit of this claim's window happened, asked of the database (PROTOCOL 2.8)."""
        ...

    def standing(self, claim: Claim) -> Claim | None:
        """What the holder of ``claim`` may still seal, asked of the database: its window after the last seal or
        checkpoint. It waits for what is in doubt; None if the key was closed, or opened by another.
        """
        ...

    def revise(self, keys: Collection[Key], change: Change) -> set[Key]:
        """Change those of ``keys`` that are there by command, all in one transaction, raising the fence of each.

        Each is locked, in the order of keys, before ``change`` is asked about it: what it answers takes account of
        every seal. None leaves a key as it is; an open window of the others is ended. The changed keys are returned.
        """
        ...

    def history(self, selection: Selection, *, limit: int, before: datetime | None = None) -> Iterator[HistoryRow]:
        """Attempts, newest first, at most ``limit``, those completed before ``before``."""
        ...

    def latest(self, keys: Collection[Key]) -> Mapping[Key, HistoryRow]:
        """The newest attempt of each of ``keys`` that has one, all in one read."""
        ...
