"""S15–S20: history, texts, times and selections come back as they were given (floor: testing; PROTOCOL 8)."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from attrs import evolve

from tenantcollect.errors import ConfigurationError
from tenantcollect.keys import EVERYTHING, Key, Selection
from tenantcollect.schedule import Hold
from tenantcollect.state import Failure, NewKey, Resume, Revision, Seal, State
from tenantcollect.testing.harness import Backend, Harness
from tenantcollect.testing.steps import (
    DAY,
    KEY,
    START,
    always,
    attempts,
    deferred,
    failure,
    key,
    made,
    opened,
    read,
    seal_of,
    sealed,
    window,
)
from tenantcollect.testing.suite import Suite, needs
from tenantcollect.windows import NOTHING, Window, WindowSet

__all__ = ["ValueTests"]

LIMIT = 4000
NAIVE = START.replace(tzinfo=None)
EXACT = timedelta(microseconds=123457)
TOKYO = timezone(timedelta(hours=9))
NOT_IN_UTC = [
    datetime.max.replace(tzinfo=timezone(-timedelta(hours=12))),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=12))),
]
HOSTILE_ERRORS = {
    "5 MB": "x" * 5_000_000,
    "NUL": "before\0after",
    "surrogate": "before\ud800after",
    "ESC": "before\x1b[31mafter",
    "newline": "before\nafter\r\n\tend",
    "separators": "before\u2028\u202eafter",
    "emoji at the limit": "😀" * LIMIT,
    "empty": "",
}
TENANTS = ["a", "A", "a%", "a_", "ab", "a b", "%", "_", "a'b", "á"]


def tick(state: State) -> None:
    """Wait until the state's clock shows another time than now."""
    began = state.now()
    while state.now() <= began:
        pass


def failed_attempts(backend: Backend, keys: list[Key]) -> list[str]:
    """One failed attempt of each key, one after the other; the ids of the windows in this order."""
    claims = []
    for each in keys:
        tick(backend.state)
        claims.append(opened(backend, each))
        backend.state.close(claims[-1], failure())
    return [claim.window_id for claim in claims]


class ValueTests(Suite):
    """What is stored is what was given, or it is refused."""

    def test_s15_history_order_and_paging(self, harness: Harness) -> None:
        """The newest attempt comes first, and pages neither repeat nor leave out one."""
        state = harness.backend.state
        made(harness.backend)
        ids = failed_attempts(harness.backend, [KEY] * 7)
        assert [row.window_id for row in attempts(harness.backend)] == ids[::-1]
        paged: list[str] = []
        before = None
        while page := list(state.history(EVERYTHING, limit=3, before=before)):
            assert len(page) <= 3
            paged += [row.window_id for row in page]
            before = page[-1].completed_at
        assert paged == ids[::-1]

    def test_s15_history_of_a_selection(self, harness: Harness) -> None:
        """The history of a selection is that of its keys, and its limit counts only those."""
        keys = [KEY, key(script="branch"), key("beta")]
        made(harness.backend, keys)
        ids = failed_attempts(harness.backend, [*keys, KEY])
        history = harness.backend.state.history
        assert [row.window_id for row in history(Selection("acme"), limit=10)] == [ids[3], ids[1], ids[0]]
        assert [row.window_id for row in history(Selection(scripts="branch"), limit=1)] == [ids[1]]
        assert list(history(Selection("nobody"), limit=10)) == []

    def test_s15_latest_of_many_keys(self, harness: Harness) -> None:
        """The newest attempt of each key is that key's own; a key without one has none."""
        keys = [KEY, key(script="branch"), key("beta"), key("new")]
        made(harness.backend, keys)
        ids = failed_attempts(harness.backend, [*keys[:3], KEY])
        latest = harness.backend.state.latest([keys[0], keys[1], keys[3]])
        assert {which: row.window_id for which, row in latest.items()} == {keys[0]: ids[3], keys[1]: ids[1]}
        assert harness.backend.state.latest([]) == {}

    @pytest.mark.parametrize("error", HOSTILE_ERRORS.values(), ids=HOSTILE_ERRORS.keys())
    def test_s16_error_text(self, harness: Harness, error: str) -> None:
        """Any error text is stored, cut at 4000 characters, in the state and in the history alike."""
        made(harness.backend)
        claim = opened(harness.backend)
        harness.backend.state.close(claim, failure(error, warnings=(error, error)))
        [row] = attempts(harness.backend)
        stored = row.error
        assert stored is not None
        assert len(stored) <= LIMIT
        assert stored == read(harness.backend).error
        assert row.warnings == (stored, stored)
        assert stored[:6] == error[:6]
        if len(error) <= LIMIT:
            assert stored.endswith(error[-5:])

    @pytest.mark.parametrize(
        "call",
        [
            lambda _: NewKey(key=KEY, history_start=NAIVE),
            lambda _: Window(NAIVE, NAIVE + DAY),
            lambda _: Failure(reason="backoff", error="", retry_at=NAIVE),
            lambda _: Failure(reason="backoff", error="", first_failure_at=NAIVE),
            lambda _: Revision(history_start=NAIVE),
            lambda _: Seal(window=window(), coverage=NOTHING, last_fetched_data_date=NAIVE),
            lambda _: Hold(tenant_id="a", data_source="git", reason="backoff", since=NAIVE),
            lambda _: Hold(tenant_id="a", data_source="git", reason="backoff", since=START, until=NAIVE),
            lambda state: state.ensure([NewKey(key=KEY, history_start=START)], due_at=NAIVE),
            lambda state: list(state.history(EVERYTHING, limit=1, before=NAIVE)),
        ],
    )
    def test_s17_naive_datetime_is_refused(self, harness: Harness, call: Callable[[State], Any]) -> None:
        """A time without a time zone is refused at every border, and nothing is stored."""
        with pytest.raises(ConfigurationError, match="time zone"):
            call(harness.backend.state)
        assert list(harness.backend.state.load(EVERYTHING)) == []

    def test_s18_microseconds_round_trip(self, harness: Harness) -> None:
        """Every stored time comes back exactly, in UTC, whatever zone it was given in."""
        state = harness.backend.state
        exact = (START + EXACT).astimezone(TOKYO)
        state.ensure([NewKey(key=KEY, history_start=exact)], due_at=exact)
        assert state.schedule.entries([KEY])[KEY].next_due_at == exact
        told = failure(first_failure_at=exact, retry_at=exact, window_limit=EXACT)
        state.close(opened(harness.backend), told)
        row = read(harness.backend)
        times = [row.history_start, row.first_failure_at, row.retry_at]
        assert times == [exact] * 3
        assert all(time is not None and time.utcoffset() == timedelta() for time in times)
        assert row.window_limit == EXACT
        hold = Hold(tenant_id="acme", data_source="git", reason="backoff", since=exact, until=exact + DAY)
        state.holds.place(hold)
        assert state.holds.held() == [hold]

    def test_s18_windows_round_trip(self, harness: Harness) -> None:
        """Coverage, with its holes, and the windows of the history come back to the microsecond."""
        state = harness.backend.state
        made(harness.backend)
        pieces = [Window(START + n * DAY + EXACT, START + n * DAY + 2 * EXACT) for n in range(3)]
        claim = opened(harness.backend)
        transaction = state.transaction(claim)
        seal = Seal(
            window=pieces[0],
            coverage=WindowSet.of(pieces),
            last_fetched_data_date=pieces[0].end,
            last_record_at=pieces[1].end,
            next=claim.onto(pieces[1]),
        )
        transaction.seal(seal)
        transaction.checkpoint(Resume(window=pieces[1], value={"page": [1, "two", None, 3.5, True]}))
        row = read(harness.backend)
        assert row.coverage == WindowSet.of(pieces)
        assert (row.open_window, row.last_fetched_data_date) == (pieces[1], pieces[0].end)
        assert row.resume == Resume(window=pieces[1], value={"page": [1, "two", None, 3.5, True]})
        assert row.last_record_at == pieces[1].end
        assert [attempt.window for attempt in attempts(harness.backend)] == [pieces[0]]

    @pytest.mark.parametrize("far", NOT_IN_UTC, ids=["after_9999", "before_1"])
    def test_s19_far_dates_are_refused(self, harness: Harness, far: datetime) -> None:
        """A time that has no UTC form is refused, not stored as another one."""
        state = harness.backend.state
        new = NewKey(key=KEY, history_start=START)
        with pytest.raises(ConfigurationError, match="years 1 to 9999"):
            state.ensure([new], due_at=far)
        state.ensure([new], due_at=START)
        with pytest.raises(ConfigurationError, match="years 1 to 9999"):
            NewKey(key=key("beta"), history_start=far)
        with pytest.raises(ConfigurationError, match="years 1 to 9999"):
            deferred(state, KEY, far)

    def test_s19_old_and_late_dates_that_exist_are_kept(self, harness: Harness) -> None:
        """A history start in 1900 and a due time in 9999 come back as given."""
        state = harness.backend.state
        early, late = START.replace(year=1900), START.replace(year=9999)
        state.ensure([NewKey(key=KEY, history_start=early)], due_at=late)
        assert read(harness.backend).history_start == early
        assert state.schedule.entries([KEY])[KEY].next_due_at == late

    @needs("sql")
    @pytest.mark.parametrize(
        "stored",
        [
            "[[]]",
            '{"a": 1}',
            '[["2026-01-01T00:00:00+00:00", "infinity"]]',
            '[["2026-01-02", "2026-01-01"]]',
            "7",
        ],
    )
    def test_s19_spoilt_coverage(self, harness: Harness, stored: str) -> None:
        """Coverage edited by hand is a problem of that key; the others load, and a replay cures it."""
        made(harness.backend, [KEY, key("beta")])
        harness.spoil(KEY, stored)
        spoilt, fine = harness.backend.state.load([KEY, key("beta")])
        assert spoilt.coverage is None
        assert "replay" in (spoilt.problem or "")
        assert (fine.coverage, fine.problem) == (NOTHING, None)
        harness.backend.state.revise([KEY], always(Revision(coverage=NOTHING, replayed=window(0))))
        assert read(harness.backend).coverage == NOTHING
        assert sealed(harness.backend, opened(harness.backend))

    def test_s20_tenant_filter_is_exact(self, harness: Harness) -> None:
        """A selection matches whole names as they are written, never a pattern or another case."""
        state = harness.backend.state
        keys = [key(tenant) for tenant in TENANTS]
        made(harness.backend, keys)
        failed_attempts(harness.backend, keys)
        for tenant in TENANTS:
            chosen = Selection(tenant)
            assert [row.key for row in state.load(chosen)] == [key(tenant)]
            assert [row.key for row in state.history(chosen, limit=10)] == [key(tenant)]
            due = state.schedule.due(chosen, now=state.now(), limit=10)
            assert [entry.key for entry in due] == [key(tenant)]

    def test_s20_load_is_ordered_and_exact(self, harness: Harness) -> None:
        """Keys come in their order, those asked for and no others; a seal of one shows in no other."""
        keys = sorted([key("b"), key("a", script="branch"), key("a"), key("a", data_source="zeta")])
        made(harness.backend, keys[::-1])
        claim = opened(harness.backend, keys[1])
        harness.backend.state.transaction(claim).seal(evolve(seal_of(claim), cursor=("mine",)))
        assert [state.key for state in harness.backend.state.load(EVERYTHING)] == keys
        assert [state.key for state in harness.backend.state.load(keys[2:])] == keys[2:]
        assert [state.key for state in harness.backend.state.load([key("nobody")])] == []
        assert list(harness.backend.state.load([])) == []
        assert [state.cursor for state in harness.backend.state.load(EVERYTHING)].count("mine") == 1
        chosen = Selection("a", ["git", "zeta"], "commit")
        assert [state.key for state in harness.backend.state.load(chosen)] == [
            each for each in keys if chosen.matches(each)
        ]
