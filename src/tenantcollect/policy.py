"""What happens after a window failed: one class of error, one policy (floor: contracts, pure; DESIGN 7)."""

import random
from datetime import datetime, timedelta
from enum import StrEnum

from attrs import evolve, frozen

from tenantcollect.errors import (
    AuthenticationError,
    CipherKeyMissing,
    ConfigurationError,
    CoverageInvalid,
    Overloaded,
    PluginError,
    RateLimited,
    ResolvedEnvInvalid,
    SecretUnreadable,
    TransactionConflict,
    TryLater,
    WindowTimedOut,
    WindowTooLarge,
)
from tenantcollect.windows import Window

__all__ = [
    "ELSEWHERE",
    "FIRST_DELAY",
    "LIFTED",
    "POLL_HELD",
    "Reaction",
    "Reason",
    "Record",
    "ease",
    "elsewhere",
    "react",
]

FIRST_DELAY = timedelta(seconds=60)
LONGEST_DELAY = timedelta(hours=6)
SHORTEST_WINDOW = timedelta(seconds=1)
SHORTEST_TIMED_OUT = timedelta(minutes=1)
LONGEST_LIMIT = timedelta(days=366)
BREAKER_FAILURES = 20
BREAKER_AGE = timedelta(days=2)
PROBE_EVERY = timedelta(days=1)
READ_AGAIN_EVERY = timedelta(hours=1)
POLL_HELD = timedelta(hours=1)
"""How often a key that waits for somebody is looked at, in case the hint that should wake it was lost."""
ELSEWHERE = "mend what the detail names, then: tenantcollect resume {t} {s}"


class Reason(StrEnum):
    """Why a key does or does not run; the same codes in status, explain, history, events (DESIGN 5.3)."""

    RUNNABLE = "runnable"
    UNATTENDED = "unattended"
    UP_TO_DATE = "up_to_date"
    NOT_DUE = "not_due"
    RUNNING = "running"
    WAITING_FOR_UPSTREAM = "waiting_for_upstream"
    BACKOFF = "backoff"
    RATE_LIMITED = "rate_limited"
    AT_CAPACITY = "at_capacity"
    PAUSED_BY_USER = "paused_by_user"
    AUTH_FAILED = "auth_failed"
    CONFIG_INVALID = "config_invalid"
    BREAKER_OPEN = "breaker_open"
    DEPENDENCY_ERROR = "dependency_error"
    COLLECTOR_MISSING = "collector_missing"
    COLLECTOR_BROKEN = "collector_broken"
    NOT_CONFIGURED = "not_configured"
    ERASED = "erased"


LIFTED = frozenset(
    {Reason.PAUSED_BY_USER, Reason.AUTH_FAILED, Reason.CONFIG_INVALID, Reason.BREAKER_OPEN, Reason.RATE_LIMITED}
)
"""The reasons of holds that a person lifts by ``resume``."""


@frozen(kw_only=True)
class Record:
    """What a key remembers of its failures in a row."""

    failures: int = 0
    first_failure_at: datetime | None = None
    window_limit: timedelta | None = None


@frozen(kw_only=True)
class Reaction:
    """What is to be stored after an attempt that did not seal.

    ``failed`` False = it counts as no failure. ``retry_at`` delays this key; ``hold`` places a hold until
    ``retry_at`` (None = until someone acts), on the tenant's whole data source where ``whole_source``.
    """

    reason: Reason
    record: Record
    failed: bool = True
    retry_at: datetime | None = None
    hold: bool = False
    whole_source: bool = False


def react(
    error: BaseException,
    *,
    window: Window,
    record: Record,
    now: datetime,
    first_delay: timedelta = FIRST_DELAY,
    rng: random.Random | None = None,
) -> Reaction:
    """The reaction to ``error``, which a window of a key with ``record`` ended with at ``now`` (UTC)."""
    match error:
        case RateLimited():
            return Reaction(
                reason=Reason.RATE_LIMITED,
                record=record,
                failed=False,
                retry_at=error.until(now),
                hold=True,
                whole_source=True,
            )
        case TryLater():
            return Reaction(reason=Reason.BACKOFF, record=record, failed=False, retry_at=error.until(now))
        case AuthenticationError():
            return Reaction(reason=Reason.AUTH_FAILED, record=_one_more(record, now), hold=True)
        case SecretUnreadable() | ResolvedEnvInvalid():
            return _read_again(error, _one_more(record, now), now, first_delay, rng)
        case ConfigurationError() if not isinstance(error, PluginError):
            return Reaction(reason=Reason.CONFIG_INVALID, record=_one_more(record, now), hold=True)
        case Overloaded() | TransactionConflict():
            return Reaction(reason=Reason.BACKOFF, record=record, failed=False, retry_at=now + first_delay)
        case WindowTooLarge() if _halving_helps(record, window, SHORTEST_WINDOW):
            record = _halved(record, window)
            return Reaction(reason=Reason.RUNNABLE, record=record, failed=False, retry_at=now)
    return _failed(error, window, _one_more(record, now), now, first_delay, rng)


def _failed(
    error: BaseException,
    window: Window,
    worse: Record,
    now: datetime,
    first_delay: timedelta,
    rng: random.Random | None,
) -> Reaction:
    """A failure that is tried again: after a back-off, or once a day where somebody must act."""
    if isinstance(error, CoverageInvalid):
        return Reaction(reason=Reason.CONFIG_INVALID, record=worse, retry_at=now + PROBE_EVERY)
    if isinstance(error, WindowTimedOut) and _halving_helps(worse, window, SHORTEST_TIMED_OUT):
        worse = _halved(worse, window)
    if _breaks(worse, now):
        return Reaction(reason=Reason.BREAKER_OPEN, record=worse, retry_at=now + PROBE_EVERY, hold=True)
    delay = backoff(worse.failures, first_delay, rng or random.Random())  # noqa: S311 - jitter is no secret
    reason = Reason.COLLECTOR_BROKEN if isinstance(error, PluginError) else Reason.BACKOFF
    return Reaction(reason=reason, record=worse, retry_at=now + delay)


def _read_again(
    error: ConfigurationError, worse: Record, now: datetime, first_delay: timedelta, rng: random.Random | None
) -> Reaction:
    """It is looked at again without any change of the configuration: what is wrong lies elsewhere.

    Where only this process lacks the cipher key, another one goes on, with every other key of the source at once.
    """
    ours, delay = isinstance(error, CipherKeyMissing), READ_AGAIN_EVERY
    if ours:
        delay = min(backoff(worse.failures, first_delay, rng or random.Random()), delay)  # noqa: S311 - as above
    return Reaction(reason=Reason.CONFIG_INVALID, record=worse, retry_at=now + delay, hold=True, whole_source=not ours)


def elsewhere(reason: str, until: datetime | None) -> str | None:
    """What to do where a hold's reason lies beside the stored configuration, so that it is tried again by itself."""
    return ELSEWHERE if reason == Reason.CONFIG_INVALID and until is not None else None


def backoff(failures: int, first_delay: timedelta, rng: random.Random) -> timedelta:
    """Full jitter: anything up to ``first_delay`` doubled per failure, at most six hours.

    The first failure waits at least half of ``first_delay``, so that a single fault is not met again at once.
    """
    ceiling: timedelta = min(first_delay * 2 ** min(failures - 1, 20), max(LONGEST_DELAY, first_delay))
    return ceiling * rng.uniform(0.5 if failures <= 1 else 0.0, 1.0)


def ease(record: Record, duration: timedelta | None) -> Record:
    """The record after a sealed window: no failures, and a halved window size grows back by doubling."""
    if record.window_limit is None:
        return Record()
    limit = record.window_limit * 2
    return Record(window_limit=limit if limit < (duration or LONGEST_LIMIT) else None)


def _one_more(record: Record, now: datetime) -> Record:
    return evolve(record, failures=record.failures + 1, first_failure_at=record.first_failure_at or now)


def _halved(record: Record, window: Window) -> Record:
    return evolve(record, window_limit=max(window.duration / 2, SHORTEST_WINDOW))


def _halving_helps(record: Record, window: Window, shortest: timedelta) -> bool:
    """False where an earlier halving did not make the window shorter: a snapshot cannot be cut."""
    return shortest < window.duration <= (record.window_limit or window.duration)


def _breaks(record: Record, now: datetime) -> bool:
    return record.failures >= BREAKER_FAILURES and now - (record.first_failure_at or now) >= BREAKER_AGE
