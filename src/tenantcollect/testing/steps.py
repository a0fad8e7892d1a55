"""The steps of a worker, one by one, and the keys and windows the suites use (floor: testing)."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from tenantcollect.errors import LeaseLost
from tenantcollect.keys import EVERYTHING, Key, Selection
from tenantcollect.state import (
    Change,
    Claim,
    Failure,
    HistoryRow,
    KeyState,
    NewKey,
    Opening,
    Revision,
    Seal,
    State,
    Status,
)
from tenantcollect.testing.harness import Backend, Harness
from tenantcollect.windows import Window, WindowSet

__all__ = [
    "DAY",
    "KEY",
    "START",
    "TTL",
    "always",
    "attempts",
    "collect",
    "deferred",
    "failure",
    "key",
    "made",
    "opened",
    "opening",
    "read",
    "seal_of",
    "statuses",
    "window",
]

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TTL = timedelta(seconds=60)


def key(tenant_id: str = "acme", data_source: str = "git", script: str = "commit") -> Key:
    """A key; only what matters to a test is named there."""
    return Key(tenant_id, data_source, script)


KEY = key()


def window(day: int = 0, days: int = 1) -> Window:
    """The window of a numbered day, or of several from there on."""
    return Window(START + day * DAY, START + (day + days) * DAY)


def made(backend: Backend, keys: Collection[Key] = (KEY,)) -> Key:
    """Make ``keys`` with their history starting at day 0, due now; the first of them."""
    new = [NewKey(key=each, history_start=START) for each in keys]
    backend.state.ensure(new, due_at=backend.state.now())
    return next(iter(keys))


def deferred(state: State, which: Key, until: datetime | None, *, waiting: bool = False) -> None:
    """Look at the key again later, whatever was ordered until now."""
    state.schedule.defer(state.schedule.entries([which])[which], until, waiting=waiting)


def read(backend: Backend, which: Key = KEY) -> KeyState:
    """The state of one key, which must be there."""
    [state] = backend.state.load([which])
    return state


def opening(
    state: KeyState,
    day: int = 0,
    *,
    owner: str = "worker-1",
    token: str | None = None,
    previous: str | None = None,
) -> Opening:
    """What a holder asks for that has read ``state``."""
    return Opening(
        key=state.key,
        token=token or uuid4().hex,
        owner=owner,
        window_seq=state.window_seq,
        window_id=uuid4().hex,
        window=window(day),
        previous=previous,
    )


def opened(
    backend: Backend,
    which: Key = KEY,
    day: int = 0,
    *,
    owner: str = "worker-1",
    token: str | None = None,
    previous: str | None = None,
) -> Claim:
    """Read the state and open the window of ``day``."""
    asked = opening(read(backend, which), day, owner=owner, token=token, previous=previous)
    [claim] = backend.state.open([asked])
    return claim


def seal_of(
    claim: Claim,
    *before: Window,
    window: Window | None = None,
    next_window: Window | None = None,
    records: int | None = None,
) -> Seal:
    """The seal of a claim's window, when ``before`` was covered already."""
    sealed = window or claim.window
    coverage = WindowSet.of([*before, sealed])
    return Seal(
        window=sealed,
        coverage=coverage,
        last_fetched_data_date=coverage.unbroken_end(START),
        records=records,
        next=claim.onto(next_window) if next_window else None,
    )


def always(revision: Revision) -> Change:
    """A command that does the same to every key."""
    return lambda _: revision


def failure(error: str = "boom", **told: object) -> Failure:
    """A failed attempt."""
    return Failure(reason="backoff", error=error, **told)  # type: ignore[arg-type]


def collect(harness: Harness, *numbers: int, which: Key = KEY, day: int = 0) -> None:
    """Do what the next holder does: nothing, if the day is covered; else open it, write and seal."""
    state = read(harness.backend, which)
    coverage = state.coverage or WindowSet()
    if coverage.covers(window(day)):
        return
    transaction = harness.backend.state.transaction(opened(harness.backend, which, day, owner="next"))
    if numbers:
        harness.write(transaction, *numbers)
    transaction.seal(seal_of(transaction.claim, *coverage))
    transaction.abandon()


def attempts(backend: Backend, which: Key | None = None) -> list[HistoryRow]:
    """The history, newest first."""
    chosen = Selection(which.tenant_id, which.data_source, which.script) if which else EVERYTHING
    return list(backend.state.history(chosen, limit=1000))


def statuses(backend: Backend, which: Key | None = None) -> list[Status]:
    """How the attempts ended, oldest first."""
    return [row.status for row in reversed(attempts(backend, which))]


def sealed(backend: Backend, claim: Claim, *before: Window) -> bool:
    """Whether ``claim`` could still be sealed, without rows; it is, then."""
    try:
        backend.state.transaction(claim).seal(seal_of(claim, *before))
    except LeaseLost:
        return False
    return True
