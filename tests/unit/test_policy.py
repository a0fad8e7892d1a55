"""One class of error, one policy (DESIGN 7)."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantcollect.errors import (
    AuthenticationError,
    CipherKeyMissing,
    ConfigurationError,
    DependencyError,
    Overloaded,
    PluginError,
    RateLimited,
    SecretUnreadable,
    TransactionBroken,
    TransactionConflict,
    TryLater,
    WindowTimedOut,
    WindowTooLarge,
)
from tenantcollect.planning import Terms, plan
from tenantcollect.policy import FIRST_DELAY, Reaction, Reason, Record, backoff, ease, react
from tenantcollect.windows import NOTHING, Window

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
SIX_HOURS = timedelta(hours=6)

durations = st.timedeltas(SECOND, 4000 * DAY)
records = st.builds(
    Record,
    failures=st.integers(0, 1000),
    first_failure_at=st.datetimes(datetime(2025, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    window_limit=st.none() | durations,
)


def of(duration: timedelta) -> Window:
    """A window of ``duration`` that ends now."""
    return Window(NOW - duration, NOW)


def reaction(error: BaseException, record: Record | None = None, duration: timedelta = DAY) -> Reaction:
    """What happens after ``error``."""
    return react(error, window=of(duration), record=record or Record(), now=NOW)


@given(records, durations)
def test_what_is_no_failure_changes_no_record(record: Record, duration: timedelta) -> None:
    """Quota, later, and a database in trouble: the key waits, and nothing is counted against it."""
    for error in (RateLimited(90), TryLater(90), Overloaded(), TransactionConflict()):
        after = reaction(error, record, duration)
        assert (after.failed, after.record) == (False, record)
        assert after.retry_at is not None
        assert after.retry_at > NOW


def test_a_rate_limit_holds_the_tenants_whole_source() -> None:
    """Until the time the source named; later speaks of its key alone."""
    limited, later = reaction(RateLimited(90)), reaction(TryLater(90))
    assert (limited.reason, limited.hold, limited.whole_source) == (Reason.RATE_LIMITED, True, True)
    assert (later.reason, later.hold, later.whole_source) == (Reason.BACKOFF, False, False)
    assert limited.retry_at == later.retry_at == NOW + timedelta(seconds=90)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AuthenticationError(), Reason.AUTH_FAILED),
        (ConfigurationError(), Reason.CONFIG_INVALID),
        (DependencyError(), Reason.CONFIG_INVALID),
    ],
)
def test_what_only_a_person_can_cure_is_held_until_they_do(error: Exception, reason: Reason) -> None:
    """No end in time: retrying bad credentials for ever is how accounts get locked."""
    after = reaction(error)
    assert (after.reason, after.hold, after.retry_at, after.failed) == (reason, True, None, True)
    assert after.record.failures == 1


@pytest.mark.parametrize("error", [ValueError("x"), TransactionBroken(), SystemExit(1), KeyboardInterrupt()])
def test_any_other_exception_is_a_failure_that_is_retried(error: BaseException) -> None:
    """Counted, delayed, not held."""
    after = reaction(error)
    assert (after.reason, after.hold, after.failed, after.record.failures) == (Reason.BACKOFF, False, True, 1)
    assert after.record.first_failure_at == NOW


def test_a_wrong_return_is_the_plugins_fault_and_retried() -> None:
    """A broken plugin is told as such; a repaired one is met by the next retry."""
    after = reaction(PluginError())
    assert (after.reason, after.hold, after.failed) == (Reason.COLLECTOR_BROKEN, False, True)
    assert after.retry_at is not None
    assert after.retry_at > NOW


@given(records)
def test_failures_in_a_row_are_counted_from_the_first(record: Record) -> None:
    """The time of the first one stays."""
    after = reaction(ValueError(), record)
    assert after.record.failures == record.failures + 1
    assert after.record.first_failure_at == record.first_failure_at


@given(st.integers(1, 10**6), st.timedeltas(SECOND, 30 * DAY), st.integers())
def test_back_off_is_full_jitter_within_its_bounds(failures: int, first: timedelta, seed: int) -> None:
    """From nothing to the first delay doubled per failure, at most six hours; the first one at least half."""
    delay = backoff(failures, first, random.Random(seed))
    ceiling = min(first * 2 ** min(failures - 1, 20), max(SIX_HOURS, first))
    assert (first / 2 if failures == 1 else timedelta()) <= delay <= ceiling


def test_back_off_uses_the_whole_range() -> None:
    """Keys that failed together do not come back together."""
    rng = random.Random(7)
    delays = [backoff(4, FIRST_DELAY, rng) for _ in range(1000)]
    assert min(delays) < timedelta(seconds=20)
    assert max(delays) > timedelta(seconds=460)
    assert len(set(delays)) > 900


@pytest.mark.parametrize(("kind", "whole"), [(SecretUnreadable, True), (CipherKeyMissing, False)])
def test_what_cannot_be_decrypted_holds_its_source_and_a_missing_cipher_key_only_what_met_it(
    kind: type[SecretUnreadable], whole: bool
) -> None:
    """For an hour; or for as long as a back-off takes, and no longer than an hour, however often it failed."""
    for failures in (0, 3, 50):
        after = reaction(kind(), Record(failures=failures, first_failure_at=NOW - 9 * DAY))
        assert (after.reason, after.hold, after.whole_source) == (Reason.CONFIG_INVALID, True, whole)
        assert after.retry_at is not None
        assert NOW <= after.retry_at <= NOW + HOUR
        assert after.retry_at == NOW + HOUR or not whole
    assert reaction(CipherKeyMissing()).retry_at <= NOW + FIRST_DELAY  # type: ignore[operator]


@given(records, st.integers())
def test_a_failure_is_retried_after_its_back_off(record: Record, seed: int) -> None:
    """The given source of chance decides; the retry is never before now."""
    twice = [react(ValueError(), window=of(DAY), record=record, now=NOW, rng=random.Random(seed)) for _ in range(2)]
    assert twice[0] == twice[1]
    assert twice[0].retry_at is not None
    assert twice[0].retry_at >= NOW


@pytest.mark.parametrize(
    ("failures", "age", "opens"),
    [(18, 3 * DAY, False), (19, 2 * DAY - SECOND, False), (19, 2 * DAY, True), (500, DAY, False), (500, 9 * DAY, True)],
)
def test_the_breaker_opens_after_many_failures_over_days(failures: int, age: timedelta, opens: bool) -> None:
    """Twenty in a row and two days: then one probe a day."""
    after = reaction(ValueError(), Record(failures=failures, first_failure_at=NOW - age))
    assert (after.reason is Reason.BREAKER_OPEN) == after.hold == opens
    assert not opens or after.retry_at == NOW + DAY


def test_a_window_that_is_too_large_is_halved_and_planned_again_at_once() -> None:
    """Not a failure; the limit is kept on the key."""
    after = reaction(WindowTooLarge(), Record(failures=3))
    assert (after.reason, after.failed, after.retry_at, after.hold) == (Reason.RUNNABLE, False, NOW, False)
    assert after.record == Record(failures=3, window_limit=DAY / 2)


@pytest.mark.parametrize(("duration", "limit"), [(DAY, DAY / 2), (61 * SECOND, 30.5 * SECOND), (MINUTE, None)])
def test_a_timeout_is_a_failure_and_halves_what_is_longer_than_a_minute(
    duration: timedelta, limit: timedelta | None
) -> None:
    """A shorter window is not made shorter by a slow source."""
    after = reaction(WindowTimedOut(), duration=duration)
    assert (after.failed, after.record.failures, after.record.window_limit) == (True, 1, limit)


@given(st.none() | durations, durations, st.booleans())
def test_halving_ends(duration: timedelta | None, history: timedelta, snapshot: bool) -> None:
    """A source that finds every window too large, also one that cannot be cut, ends in a back-off, not in a loop."""
    record, terms = Record(), Terms(duration=duration, snapshot=snapshot)
    for _ in range(40):
        found = plan(
            history_start=NOW - history, coverage=NOTHING, terms=terms, now=NOW, window_limit=record.window_limit
        )
        after = react(WindowTooLarge(), window=found.ready[0], record=record, now=NOW)
        if after.failed:
            break
        record = after.record
    assert after.failed


@given(records, st.none() | durations)
def test_a_seal_forgets_the_failures_and_eases_the_limit(record: Record, duration: timedelta | None) -> None:
    """The limit doubles until it limits nothing."""
    eased = ease(record, duration)
    assert (eased.failures, eased.first_failure_at) == (0, None)
    if eased.window_limit is not None:
        assert record.window_limit is not None
        assert eased.window_limit == record.window_limit * 2
        assert eased.window_limit < (duration or 366 * DAY)
    for _ in range(60):
        eased = ease(eased, duration)
    assert eased == Record()
