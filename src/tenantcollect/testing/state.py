"""S01–S10: ensure, open, seal and close (floor: testing; PROTOCOL 8)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from attrs import evolve

from tenantcollect.errors import LeaseLost, TransactionBroken
from tenantcollect.keys import EVERYTHING
from tenantcollect.state import KeyState, NewKey, Status
from tenantcollect.testing.harness import Harness
from tenantcollect.testing.processes import ensure_at_once
from tenantcollect.testing.revisions import RevisionTests
from tenantcollect.testing.schedule import ScheduleTests
from tenantcollect.testing.steps import (
    DAY,
    KEY,
    START,
    attempts,
    failure,
    key,
    made,
    opened,
    opening,
    read,
    seal_of,
    sealed,
    statuses,
    window,
)
from tenantcollect.testing.suite import needs
from tenantcollect.testing.values import ValueTests
from tenantcollect.windows import NOTHING, WindowSet

__all__ = ["StateSuite"]


class StateSuite(RevisionTests, ScheduleTests, ValueTests):
    """One holder, one seal, and a history that leaves nothing out."""

    def test_s01_ensure_is_idempotent(self, harness: Harness) -> None:
        """A key is made once; what is there is never changed, nor counted."""
        state = harness.backend.state
        first, again = (NewKey(key=KEY, history_start=START + n * DAY) for n in (0, 5))
        assert state.ensure([first], due_at=START) == 1
        assert state.ensure([again], due_at=START + DAY) == 0
        assert state.ensure([again, NewKey(key=key("beta"), history_start=START)], due_at=START) == 1
        assert state.ensure([], due_at=START) == 0
        assert read(harness.backend).history_start == START
        assert state.schedule.entries([KEY])[KEY].next_due_at == START

    def test_s01_ensure_leaves_progress_alone(self, harness: Harness) -> None:
        """Ensuring a key that has coverage, a cursor and an open window changes nothing of it."""
        made(harness.backend)
        assert sealed(harness.backend, opened(harness.backend))
        opened(harness.backend, day=1)
        before = read(harness.backend)
        made(harness.backend)
        assert read(harness.backend) == before

    def test_s01_the_same_key_twice_in_one_call(self, harness: Harness) -> None:
        """A key named twice is made once."""
        twice = [NewKey(key=KEY, history_start=START)] * 2
        assert harness.backend.state.ensure(twice, due_at=START) == 1

    @needs("processes")
    def test_s02_ensure_race_of_16_processes(self, harness: Harness) -> None:
        """Sixteen processes that ensure the same keys at once make each of them once."""
        keys = [key(f"tenant-{number}") for number in range(8)]
        assert sum(ensure_at_once(harness.factory, keys, processes=16)) == len(keys)
        assert [state.key for state in harness.backend.state.load(EVERYTHING)] == keys

    def test_s02_ensure_race_of_16_threads(self, harness: Harness) -> None:
        """Sixteen threads on four backends that ensure the same keys at once make each of them once."""
        keys = [key(f"tenant-{number}") for number in range(8)]
        new = [NewKey(key=each, history_start=START) for each in keys]
        states = [harness.backend.state, *(harness.beside().state for _ in range(3))] * 4
        start = Barrier(len(states))

        def ensure(number: int) -> int:
            start.wait(30)
            return states[number].ensure(new if number % 2 else new[::-1], due_at=START)

        with ThreadPoolExecutor(len(states)) as pool:
            assert sum(pool.map(ensure, range(len(states)))) == len(keys)

    def test_s03_first_coverage_is_empty(self, harness: Harness) -> None:
        """A new key has covered nothing, knows no data date, and is pending."""
        made(harness.backend)
        assert read(harness.backend) == KeyState(key=KEY, history_start=START)

    def test_s04_open_raises_the_fence(self, harness: Harness) -> None:
        """Each opening raises the fence, and what is open can be read."""
        made(harness.backend)
        first = opened(harness.backend, owner="worker-1")
        second = opened(harness.backend, owner="worker-2")
        assert (first.fence, second.fence) == (1, 2)
        assert (second.key, second.owner) == (KEY, "worker-2")
        assert (second.window, second.window_seq) == (window(0), 0)
        state = read(harness.backend)
        assert (state.fence, state.open_window, state.opened_at) == (2, window(0), second.started_at)
        assert state.window_seq == 0

    def test_s04_what_is_not_there_is_left_out(self, harness: Harness) -> None:
        """Opening answers for the keys it could open, whatever else was asked in the same batch."""
        made(harness.backend, [KEY, key("beta")])
        asked = [opening(read(harness.backend, which)) for which in (KEY, key("beta"))]
        unknown = evolve(asked[0], key=key("unknown"))
        claims = harness.backend.state.open([asked[1], unknown, asked[0]])
        assert {claim.key for claim in claims} == {KEY, key("beta")}
        assert harness.backend.state.open([]) == []

    def test_s05_an_old_holder_cannot_seal(self, harness: Harness) -> None:
        """After a second opening the first claim seals nothing, and the second one does."""
        made(harness.backend)
        old, new = opened(harness.backend, day=0), opened(harness.backend, day=1)
        with pytest.raises(LeaseLost):
            harness.backend.state.transaction(old).seal(seal_of(old))
        assert read(harness.backend).coverage == NOTHING
        assert sealed(harness.backend, new)
        assert read(harness.backend).coverage == WindowSet((window(1),))

    @pytest.mark.parametrize("part", ["fence", "token", "window_id"])
    def test_s05_each_part_of_a_claim_is_compared(self, harness: Harness, part: str) -> None:
        """A claim with the wrong fence, token or window seals nothing."""
        made(harness.backend)
        claim = opened(harness.backend)
        wrong: Any = claim.fence - 1 if part == "fence" else "0" * 32
        assert not sealed(harness.backend, evolve(claim, **{part: wrong}))
        assert read(harness.backend).coverage == NOTHING
        assert sealed(harness.backend, claim)

    def test_s06_nor_fail(self, harness: Harness) -> None:
        """After a second opening the first claim cannot record a failure."""
        made(harness.backend)
        old, new = opened(harness.backend), opened(harness.backend)
        with pytest.raises(LeaseLost):
            harness.backend.state.close(old, failure())
        assert read(harness.backend).status is Status.PENDING
        assert sealed(harness.backend, new)
        assert statuses(harness.backend) == [Status.ABANDONED, Status.COMPLETED]

    def test_s07_nor_close(self, harness: Harness) -> None:
        """After a second opening the first claim cannot close the window of the second."""
        made(harness.backend)
        old, new = opened(harness.backend), opened(harness.backend)
        with pytest.raises(LeaseLost):
            harness.backend.state.close(old)
        assert read(harness.backend).open_window == window(0)
        assert sealed(harness.backend, new)

    def test_s07_a_closed_claim_is_dead(self, harness: Harness) -> None:
        """After it was closed a claim can neither seal nor fail nor close; there is no history of it."""
        made(harness.backend)
        claim = opened(harness.backend)
        harness.backend.state.close(claim)
        assert read(harness.backend).open_window is None
        assert not sealed(harness.backend, claim)
        for told in (None, failure()):
            with pytest.raises(LeaseLost):
                harness.backend.state.close(claim, told)
        assert attempts(harness.backend) == []

    def test_s07_failing_is_recorded_once(self, harness: Harness) -> None:
        """A failure sets status, error and retry time, leaves its history row, and ends the claim."""
        made(harness.backend)
        claim = opened(harness.backend)
        told = failure(failures=3, first_failure_at=START, retry_at=START + DAY, window_limit=DAY / 2)
        harness.backend.state.close(claim, told)
        state, [row] = read(harness.backend), attempts(harness.backend)
        assert (state.status, state.error, state.reason) == (Status.FAILED, "boom", "backoff")
        assert (state.failures, state.first_failure_at, state.retry_at) == (3, START, START + DAY)
        assert (state.window_limit, state.open_window, state.coverage) == (DAY / 2, None, NOTHING)
        assert (row.status, row.window_id, row.error) == (Status.FAILED, claim.window_id, "boom")
        assert (row.reason, row.worker, row.fence, row.attempt) == ("backoff", "worker-1", claim.fence, 1)
        assert not sealed(harness.backend, claim)
        assert not harness.backend.state.outcome(claim)

    def test_s07_a_failure_may_open_the_next_attempt(self, harness: Harness) -> None:
        """The same window begins anew under the same fence, counted; what the first attempt knew is out of date."""
        made(harness.backend)
        first = opened(harness.backend)
        second = harness.backend.state.close(first, failure(failed=False, next=first.again()))
        assert second is not None
        assert (second.window, second.fence, second.token) == (first.window, first.fence, first.token)
        assert (second.attempt, second.window_seq) == (2, first.window_seq + 1)
        assert second.window_id != first.window_id
        assert second.started_at >= first.started_at
        assert harness.backend.state.standing(first) == second
        assert not sealed(harness.backend, first)
        assert sealed(harness.backend, second)
        assert statuses(harness.backend) == [Status.FAILED, Status.COMPLETED]
        assert [row.attempt for row in attempts(harness.backend)] == [2, 1]

    def test_s07_what_is_no_failure_keeps_the_status(self, harness: Harness) -> None:
        """An attempt that counts as no failure leaves a completed key completed, and its history row."""
        made(harness.backend)
        assert sealed(harness.backend, opened(harness.backend))
        harness.backend.state.close(opened(harness.backend, day=1), failure(failed=False, retry_at=START))
        state = read(harness.backend)
        assert (state.status, state.retry_at) == (Status.COMPLETED, START)
        assert statuses(harness.backend) == [Status.COMPLETED, Status.FAILED]

    def test_s08_seal_moves_coverage_once(self, harness: Harness) -> None:
        """A seal sets coverage, data date, cursor, limits and counters, and its history row, at once."""
        made(harness.backend)
        harness.backend.state.close(opened(harness.backend), failure(failures=2, first_failure_at=START))
        claim = opened(harness.backend)
        seal = evolve(
            seal_of(claim, records=7),
            cursor=({"page": 3},),
            window_limit=DAY,
            warnings=("slow",),
            last_record_at=START,
        )
        assert harness.backend.state.transaction(claim).seal(seal) is None
        state, row = read(harness.backend), attempts(harness.backend)[0]
        assert (state.coverage, state.last_fetched_data_date) == (WindowSet((window(0),)), window(0).end)
        assert (state.status, state.error, state.failures) == (Status.COMPLETED, None, 0)
        assert (state.first_failure_at, state.retry_at, state.open_window) == (None, None, None)
        assert (state.cursor, state.window_limit, state.last_record_at) == ({"page": 3}, DAY, START)
        assert (state.window_seq, state.fence) == (claim.window_seq + 1, claim.fence)
        assert (row.status, row.window, row.window_id) == (Status.COMPLETED, window(0), claim.window_id)
        assert (row.records, row.warnings, row.worker) == (7, ("slow",), "worker-1")
        assert row.started_at <= row.completed_at
        assert state.completed_at is not None
        assert abs(state.completed_at - row.completed_at) < timedelta(seconds=1)
        assert harness.backend.state.outcome(claim)

    def test_s08_a_seal_keeps_the_cursor_unless_it_brings_one(self, harness: Harness) -> None:
        """No cursor keeps the stored one; a cursor of None is a value like any other."""
        made(harness.backend)
        for day, cursor, expected in ((0, ([1],), [1]), (1, None, [1]), (2, (None,), None)):
            claim = opened(harness.backend, day=day)
            seal = seal_of(claim, *(window(n) for n in range(day)))
            harness.backend.state.transaction(claim).seal(evolve(seal, cursor=cursor))
            assert read(harness.backend).cursor == expected

    def test_s08_the_next_window_goes_on_under_the_same_claim(self, harness: Harness) -> None:
        """A seal that names the next window opens it: same fence, and the same transaction seals it."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        first = transaction.claim
        second = transaction.seal(seal_of(first, next_window=window(1)))
        assert second is not None
        assert (second.window, second.window_seq) == (window(1), first.window_seq + 1)
        assert (second.fence, second.token) == (first.fence, first.token)
        assert second.window_id != first.window_id
        assert transaction.claim == second
        assert read(harness.backend).open_window == window(1)
        assert transaction.seal(seal_of(second, window(0))) is None
        assert read(harness.backend).coverage == WindowSet((window(0, days=2),))
        assert [row.window for row in attempts(harness.backend)] == [window(1), window(0)]

    def test_s09_a_second_seal_is_refused(self, harness: Harness) -> None:
        """Sealing twice, by the same transaction or another one, changes nothing the second time."""
        made(harness.backend)
        claim = opened(harness.backend)
        transaction = harness.backend.state.transaction(claim)
        transaction.seal(seal_of(claim))
        after = read(harness.backend)
        with pytest.raises((LeaseLost, TransactionBroken)):
            transaction.seal(seal_of(claim))
        assert not sealed(harness.backend, claim)
        assert read(harness.backend) == after
        assert statuses(harness.backend) == [Status.COMPLETED]

    def test_s10_wrong_window_seq_is_refused(self, harness: Harness) -> None:
        """What was planned on an older state cannot be opened, which leaves the fence alone."""
        made(harness.backend, [KEY, key("beta")])
        stale = opening(read(harness.backend), day=0)
        assert sealed(harness.backend, opened(harness.backend))
        fresh = opening(read(harness.backend, key("beta")))
        assert [claim.key for claim in harness.backend.state.open([stale, fresh])] == [key("beta")]
        assert read(harness.backend).fence == 1

    def test_s10_nor_what_was_planned_before_a_failure(self, harness: Harness) -> None:
        """Whoever decided before a failure knew nothing of its back-off: an opening is refused, a fresh one is not."""
        made(harness.backend)
        stale = opening(read(harness.backend))
        harness.backend.state.close(opened(harness.backend), failure(retry_at=START + DAY))
        assert harness.backend.state.open([stale]) == []
        assert opened(harness.backend).fence == 2

    def test_s10_nor_sealed(self, harness: Harness) -> None:
        """A claim with another window_seq than the stored one seals nothing."""
        made(harness.backend)
        claim = opened(harness.backend)
        assert not sealed(harness.backend, evolve(claim, window_seq=claim.window_seq + 1))
        assert sealed(harness.backend, claim)
