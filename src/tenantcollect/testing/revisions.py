"""S13 and S14: what commands change in a key (floor: testing; PROTOCOL 8)."""

from concurrent.futures import Future, ThreadPoolExecutor, wait

from attrs import evolve

from tenantcollect.keys import EVERYTHING, Selection
from tenantcollect.state import KeyState, Resume, Revision, Seal, Status
from tenantcollect.testing.harness import Harness
from tenantcollect.testing.steps import (
    DAY,
    KEY,
    START,
    always,
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
from tenantcollect.testing.suite import Suite
from tenantcollect.windows import NOTHING, WindowSet

__all__ = ["RevisionTests"]


class RevisionTests(Suite):
    """A command raises the fence, and no plan from before it is carried out."""

    def test_s13_replay_kills_an_open_window(self, harness: Harness) -> None:
        """A replay ends the open window and leaves both in the history."""
        made(harness.backend)
        assert sealed(harness.backend, opened(harness.backend, day=0))
        claim = opened(harness.backend, day=1)
        replay = Revision(coverage=NOTHING, replayed=window(0))
        assert harness.backend.state.revise([KEY], always(replay))
        assert not sealed(harness.backend, claim, window(0))
        state = read(harness.backend)
        assert (state.coverage, state.last_fetched_data_date, state.open_window) == (NOTHING, None, None)
        assert sorted(statuses(harness.backend)) == [Status.ABANDONED, Status.COMPLETED, Status.REPLAYED]
        replayed = next(row for row in attempts(harness.backend) if row.status is Status.REPLAYED)
        assert replayed.window == window(0)

    def test_s13_nothing_planned_before_a_replay_is_opened(self, harness: Harness) -> None:
        """A plan read before a replay cannot be opened after it: its seal would undo the replay."""
        made(harness.backend)
        assert sealed(harness.backend, opened(harness.backend, day=0))
        stale = opening(read(harness.backend), day=1)
        harness.backend.state.revise([KEY], always(Revision(coverage=NOTHING, replayed=window(0))))
        assert harness.backend.state.open([stale]) == []

    def test_s13_many_keys_are_revised_at_once(self, harness: Harness) -> None:
        """One call ends the open window of each of its keys, and tells which were there; none is made."""
        keys = [KEY, key(script="branch"), key("beta")]
        made(harness.backend, keys)
        claims = [opened(harness.backend, which) for which in keys]
        replay = Revision(coverage=NOTHING)
        known = harness.backend.state.revise([*keys[1::-1], key("unknown")], always(replay))
        assert known == set(keys[:2])
        assert [sealed(harness.backend, claim) for claim in claims] == [False, False, True]
        assert harness.backend.state.revise([], always(replay)) == set()
        assert [state.key for state in harness.backend.state.load(EVERYTHING)] == sorted(keys)

    def test_s13_a_command_is_told_how_its_key_stands(self, harness: Harness) -> None:
        """It knows of every seal before it, and none comes between what it is told and what it does."""
        made(harness.backend)
        assert sealed(harness.backend, opened(harness.backend, day=0))
        claim, told, late = opened(harness.backend, day=1), list[KeyState](), list[Future[bool]]()

        def replay(state: KeyState) -> Revision:
            told.append(state)
            late.append(pool.submit(sealed, harness.beside(), claim, window(0)))
            assert not wait(late, timeout=0.5).done
            return Revision(coverage=(state.coverage or NOTHING) - WindowSet((window(0),)), replayed=window(0))

        with ThreadPoolExecutor(1) as pool:
            assert harness.backend.state.revise([KEY, KEY], replay) == {KEY}
            assert [future.result() for future in late] == [False]
        assert [state.coverage for state in told] == [WindowSet((window(0),))]
        assert read(harness.backend).coverage == NOTHING

    def test_s13_what_a_command_leaves_alone_goes_on(self, harness: Harness) -> None:
        """A key that is not to be changed keeps its fence and its open window."""
        made(harness.backend)
        claim = opened(harness.backend)
        assert harness.backend.state.revise([KEY], lambda _: None) == set()
        assert sealed(harness.backend, claim)

    def test_s14_then_the_same_window_again(self, harness: Harness) -> None:
        """After a replay the same window is collected again, like any other."""
        made(harness.backend)
        assert sealed(harness.backend, opened(harness.backend))
        harness.backend.state.revise([KEY], always(Revision(coverage=NOTHING, replayed=window(0))))
        assert sealed(harness.backend, opened(harness.backend))
        assert read(harness.backend).coverage == WindowSet((window(0),))
        assert statuses(harness.backend) == [Status.COMPLETED, Status.REPLAYED, Status.COMPLETED]

    def test_s14_backfill_moves_the_history_start_only(self, harness: Harness) -> None:
        """An earlier history start keeps coverage, data date, cursor and resume point."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        transaction.seal(evolve(seal_of(transaction.claim, next_window=window(1)), cursor=("c",)))
        transaction.checkpoint(Resume(window=window(1), value=1))
        before = read(harness.backend)
        assert harness.backend.state.revise([KEY], always(Revision(history_start=START - 30 * DAY)))
        after = read(harness.backend)
        assert after.history_start == START - 30 * DAY
        assert (after.coverage, after.cursor) == (before.coverage, "c")
        assert after.last_fetched_data_date == before.last_fetched_data_date
        assert before.resume == after.resume == Resume(window=window(1), value=1)

    def test_s14_only_a_restart_drops_the_resume_point(self, harness: Harness) -> None:
        """Rows behind a resume point are durable: a pause must not have them collected twice."""
        made(harness.backend)
        resume = Resume(window=window(0), value=1)
        harness.backend.state.transaction(opened(harness.backend)).checkpoint(resume)
        harness.backend.state.revise([KEY], always(Revision()))
        assert read(harness.backend).resume == resume
        harness.backend.state.revise([KEY], always(Revision(restart=True)))
        assert read(harness.backend).resume is None

    def test_s14_erase_makes_a_key_as_new(self, harness: Harness) -> None:
        """Forgetting drops cursor, error and counters; the fence never goes back."""
        made(harness.backend)
        claim = opened(harness.backend)
        seal = Seal(
            window=window(0),
            coverage=WindowSet((window(0),)),
            last_fetched_data_date=window(0).end,
            cursor=("c",),
            last_record_at=START,
        )
        harness.backend.state.transaction(claim).seal(seal)
        harness.backend.state.close(opened(harness.backend, day=1), failure(failures=1, retry_at=START))
        before = read(harness.backend)
        assert harness.backend.state.revise([KEY], always(Revision(coverage=NOTHING, forget=True)))
        after = read(harness.backend)
        assert after.fence > before.fence
        assert after.window_seq > before.window_seq
        assert evolve(after, fence=0, window_seq=0) == KeyState(key=KEY, history_start=START)

    def test_s14_other_keys_are_left_alone(self, harness: Harness) -> None:
        """Revising one key ends no window of another."""
        made(harness.backend, [KEY, key("beta")])
        claim = opened(harness.backend, key("beta"))
        harness.backend.state.revise([KEY], always(Revision(coverage=NOTHING)))
        assert sealed(harness.backend, claim)
        assert list(harness.backend.state.history(Selection("acme"), limit=10)) == []
