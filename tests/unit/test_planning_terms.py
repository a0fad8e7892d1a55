"""The planning formula: intervals, limits, unfinished windows and snapshots, and what it costs."""

import time
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tenantcollect.planning import Plan, Terms, Upstream, plan, seen_by_dependents
from tenantcollect.windows import NOTHING, WindowSet
from tests.unit.situations import (
    ALL,
    DAY,
    Situation,
    late,
    one_by_one,
    quarters,
    sealed,
    situations,
    size_of,
    terms,
    upstream_sets,
)
from tests.unit.timeline import MINUTE, ORIGIN, at, model, pair, window, window_sets, windows

# --- interval, settle, horizon ----------------------------------------------------------------------------------------


@given(situations)
def test_a_key_without_coverage_is_due_at_once(situation: Situation) -> None:
    """The first collection waits for no interval, however short the history."""
    found = plan(**{**situation, "coverage": NOTHING})
    assert bool(found.ready) == (situation["history_start"] < found.horizon)


@given(situations)
def test_the_interval_delays_only_a_short_last_window(situation: Situation) -> None:
    """What waits touches the horizon, and is shorter than the interval and than a window."""
    found = plan(**situation)
    waiting = late(situation, found)
    length = len(waiting) * MINUTE
    assert bool(waiting) == (found.due_at is not None)
    if waiting:
        assert at(max(waiting) + 1) == found.horizon
        assert length < situation["terms"].interval
        assert length < size_of(situation)


@given(situations)
def test_what_the_interval_delays_is_due_at_due_at(situation: Situation) -> None:
    """At that time the delayed piece, or a whole window of it, is ready; a minute before it is not."""
    found = plan(**situation)
    if found.due_at is None:
        return
    situation = {**situation, "coverage": situation["coverage"] | (found.holes - _tail(situation, found))}
    assert found.due_at > situation["now"]
    assert plan(**{**situation, "now": found.due_at}).ready
    assert not plan(**{**situation, "now": found.due_at - MINUTE}).ready


def _tail(situation: Situation, found: Plan) -> WindowSet:
    return WindowSet.of(window(minute, minute + 1) for minute in late(situation, found))


def test_a_hole_before_the_end_never_waits_for_the_interval() -> None:
    """A hole of a minute, close to the horizon but not touching it, is planned at once."""
    covered = windows((0, 20), (21, 30))
    found = quarters(coverage=covered, terms=Terms(), now=at(35), at_most=ALL)
    assert [pair(piece) for piece in found.ready] == [(20, 21)]
    assert found.due_at == at(45)


def test_whole_windows_do_not_wait_for_a_longer_interval() -> None:
    """With an interval longer than its windows a key is due as soon as the next one is whole, as its plan says."""
    hourly = Terms(duration=timedelta(hours=1), interval=DAY)
    now = ORIGIN + DAY + timedelta(minutes=90)
    run = list(one_by_one({"history_start": ORIGIN, "coverage": NOTHING, "terms": hourly, "now": now}))
    assert len(run) == 25
    found = quarters(coverage=WindowSet.of(run), terms=hourly, now=now)
    assert found.due_at == run[-1].end + timedelta(hours=1)


def test_a_dependent_waits_for_its_own_interval_and_is_not_called_blocked() -> None:
    """Between two passes a dependent is not due, like its upstream; it does not seem to wait for it."""
    covered = windows((0, 60))
    found = quarters(coverage=covered, terms=Terms(), now=at(70), upstreams=(Upstream(coverage=covered),))
    assert (found.ready, found.blocked, found.due_at) == ((), NOTHING, at(75))


def test_a_dependent_does_not_take_crumbs_behind_an_upstream_with_a_shorter_interval() -> None:
    """The dependent's interval counts to its own horizon, not to the end of what the upstream covers."""
    hourly = Terms(interval=timedelta(hours=1))
    upstream = Upstream(coverage=windows((0, 75)))
    assert quarters(coverage=windows((0, 60)), terms=hourly, now=at(80), upstreams=(upstream,)).due_at == at(120)
    found = quarters(coverage=windows((0, 60)), terms=hourly, now=at(120), upstreams=(upstream,))
    assert [pair(piece) for piece in found.ready] == [(60, 75)]


def test_settle_keeps_the_horizon_behind_now() -> None:
    """Data that has not rested is not asked for, and due_at is a time of the clock, not of the horizon."""
    resting = Terms(duration=10 * MINUTE, interval=5 * MINUTE, settle=30 * MINUTE)
    found = quarters(coverage=NOTHING, terms=resting, now=at(52), at_most=ALL)
    assert found.horizon == at(22)
    assert [pair(piece) for piece in found.ready] == [(0, 10), (10, 20)]
    assert found.due_at == at(20 + 5 + 30)
    assert not quarters(coverage=NOTHING, terms=resting, now=at(29)).ready


def test_a_clock_that_steps_back_takes_nothing_away() -> None:
    """The horizon is never before the end of the coverage: older holes are still planned."""
    found = quarters(coverage=windows((0, 10), (20, 50)), terms=Terms(), now=at(5), at_most=ALL)
    assert found.horizon == at(50)
    assert [pair(piece) for piece in found.ready] == [(10, 20)]


# --- limits and unfinished windows ------------------------------------------------------------------------------------


def test_the_halved_limit_cuts_windows_and_whole_pieces() -> None:
    """After WindowTooLarge the limit holds for every window, also where the duration is None."""
    for duration in (None, DAY):
        found = quarters(
            coverage=NOTHING, terms=Terms(duration=duration), now=at(60), window_limit=20 * MINUTE, at_most=ALL
        )
        assert [pair(piece) for piece in found.ready] == [(0, 20), (20, 40), (40, 60)]


@given(situations, upstream_sets, st.data())
def test_an_unfinished_window_is_planned_again_first_with_its_bounds(
    situation: Situation, upstreams: tuple[Upstream, ...], data: st.DataObject
) -> None:
    """What has a resume point goes on, even if by now the grid is another; the rest follows without overlap."""
    before = plan(**situation, upstreams=upstreams, at_most=ALL).ready
    if not before:
        return
    unfinished = data.draw(st.sampled_from(before), "unfinished")
    found = plan(**situation, upstreams=upstreams, unfinished=unfinished, at_most=ALL)
    assert found.ready[0] == unfinished
    assert plan(**situation, upstreams=upstreams, unfinished=unfinished).ready == (unfinished,)
    assert sum(len(model([piece])) for piece in found.ready) == len(model(found.ready))
    after = {**sealed(situation, unfinished), "unfinished": unfinished}
    assert plan(**after, upstreams=upstreams, at_most=ALL).ready == found.ready[1:]


def test_the_tail_behind_an_unfinished_window_waits_for_the_interval() -> None:
    """A key that has begun is no longer one that is due at once: the rest waits until a window of it is whole."""
    short = Terms(duration=10 * MINUTE)
    found = quarters(coverage=NOTHING, terms=short, now=at(12), unfinished=window(0, 10), at_most=ALL)
    assert (found.ready, found.due_at) == ((window(0, 10),), at(20))


def test_an_unfinished_window_does_not_wait_for_the_interval() -> None:
    """It was begun: the time that has passed since does not make it early again."""
    begun = window(60, 65)
    found = quarters(coverage=windows((0, 60)), terms=Terms(), now=at(66), unfinished=begun)
    assert found.ready == (begun,)


@pytest.mark.parametrize(
    "change",
    [
        {"coverage": windows((0, 12))},
        {"upstreams": (Upstream(coverage=windows((0, 15))),)},
        {"history_start": at(11)},
    ],
)
def test_an_unfinished_window_that_no_longer_fits_is_dropped(change: Situation) -> None:
    """Overlapping coverage, ahead of an upstream, before the history: it is not run as it was begun."""
    usual = {"history_start": ORIGIN, "coverage": windows((0, 10)), "terms": Terms(), "now": at(60)}
    begun = window(10, 20)
    assert plan(**usual, unfinished=begun).ready == (begun,)
    assert begun not in plan(**{**usual, **change}, unfinished=begun, at_most=ALL).ready


@pytest.mark.parametrize(
    "change",
    [
        {"window_limit": 5 * MINUTE},
        {"terms": Terms(duration=5 * MINUTE)},
        {"terms": Terms(settle=45 * MINUTE)},
        {"now": at(20) - timedelta(seconds=1)},
        {"now": at(5)},
    ],
)
def test_g2_an_unfinished_window_is_never_cut(change: Situation) -> None:
    """Rows of it are durable: cut anew, its first part would be collected twice. A pass may be older than it."""
    usual = {"history_start": ORIGIN, "coverage": windows((0, 10)), "terms": Terms(), "now": at(60), **change}
    assert plan(**usual, unfinished=window(10, 20)).ready == (window(10, 20),)


def test_g2_nothing_overlaps_an_unfinished_window_that_must_wait() -> None:
    """While an upstream does not cover it any more, no other window may take a part of it."""
    usual = {"history_start": ORIGIN, "coverage": windows((0, 10)), "terms": Terms(), "now": at(60)}
    found = plan(**usual, unfinished=window(10, 20), upstreams=(Upstream(coverage=windows((0, 15))),), at_most=ALL)
    assert (found.ready, found.blocked) == ((), windows((10, 20)))


# --- snapshots --------------------------------------------------------------------------------------------------------

SNAPSHOT = Terms(snapshot=True)


@given(situations, upstream_sets)
def test_a_snapshot_is_one_window_from_the_history_start(situation: Situation, upstreams: tuple[Upstream, ...]) -> None:
    """It begins at the history start, ends within every upstream's unbroken coverage, and adds something."""
    situation["terms"] = evolve(situation["terms"], snapshot=True)
    found = plan(**situation, upstreams=upstreams, at_most=ALL)
    assert found.windows_left <= 1
    for piece in found.ready:
        assert piece.start == situation["history_start"]
        assert piece.end <= found.horizon
        assert all(upstream.coverage.covers(piece) for upstream in upstreams)
        assert not situation["coverage"].covers(piece)
        assert piece.end == found.horizon or not any(upstream.moving for upstream in upstreams)
    assert len(found.ready) + bool(found.blocked) + bool(found.due_at) >= bool(found.holes)


def test_a_snapshot_is_taken_again_each_interval() -> None:
    """Not before; then from the history start again."""
    taken = windows((0, 60))
    early = quarters(coverage=taken, terms=SNAPSHOT, now=at(74))
    assert (early.ready, early.due_at, early.windows_left) == ((), at(75), 0)
    assert quarters(coverage=taken, terms=SNAPSHOT, now=at(75)).ready == (window(0, 75),)


def test_a_snapshot_with_settle_is_due_by_the_clock() -> None:
    """due_at is a time of the clock: coverage ends where the data had settled."""
    resting = evolve(SNAPSHOT, settle=30 * MINUTE)
    found = quarters(coverage=windows((0, 60)), terms=resting, now=at(91))
    assert (found.ready, found.due_at) == ((), at(105))
    assert quarters(coverage=windows((0, 60)), terms=resting, now=at(105)).ready == (window(0, 75),)


@pytest.mark.parametrize("coverage", [windows((10, 60)), windows((0, 20), (30, 60)), NOTHING])
def test_a_snapshot_with_a_hole_is_taken_at_once(coverage: WindowSet) -> None:
    """After a backfill or a replay it does not wait for its interval."""
    assert quarters(coverage=coverage, terms=SNAPSHOT, now=at(61)).ready == (window(0, 61),)


def test_a_snapshot_goes_on_with_its_unfinished_window() -> None:
    """A rate limit in the middle of a snapshot continues at its resume point, with the same bounds."""
    found = quarters(coverage=windows((0, 20)), terms=SNAPSHOT, now=at(62), unfinished=window(0, 60), at_most=1)
    assert found.ready == (window(0, 60),)
    older = quarters(coverage=windows((0, 20)), terms=SNAPSHOT, now=at(50), unfinished=window(0, 60), at_most=1)
    assert older.ready == (window(0, 60),)
    for stale in (window(0, 20), window(5, 60), window(70, 80)):
        ready = quarters(coverage=windows((0, 20)), terms=SNAPSHOT, now=at(62), unfinished=stale).ready
        assert ready == (window(0, 62),)


def test_g5_a_snapshot_waits_for_an_upstream_that_moves_and_takes_what_a_stuck_one_has() -> None:
    """It is not repeated for every window of its upstream; and it is not held back for ever by a stuck one."""
    half = windows((0, 30))
    moving = quarters(coverage=NOTHING, terms=SNAPSHOT, now=at(60), upstreams=(Upstream(coverage=half, moving=True),))
    assert (moving.ready, moving.blocked) == ((), windows((0, 60)))
    stuck = quarters(coverage=NOTHING, terms=SNAPSHOT, now=at(60), upstreams=(Upstream(coverage=half),))
    assert (stuck.ready, stuck.blocked) == ((window(0, 30),), windows((30, 60)))
    done = quarters(coverage=half, terms=SNAPSHOT, now=at(60), upstreams=(Upstream(coverage=half),))
    assert (done.ready, done.blocked) == ((), windows((30, 60)))


@given(window_sets, terms)
def test_dependents_see_a_snapshot_until_its_next_interval_is_overdue(coverage: WindowSet, settings: Terms) -> None:
    """One interval more than its coverage; what has windows is seen as it is, and so is nothing."""
    assert seen_by_dependents(coverage, settings) == coverage
    seen = seen_by_dependents(coverage, evolve(settings, snapshot=True))
    assert seen & coverage == coverage
    assert seen.end == (coverage.end + settings.interval if coverage.end else None)


# --- cost -------------------------------------------------------------------------------------------------------------


def quickest(**situation: Any) -> float:
    """The best of some runs in seconds of processor time: the first ones warm up."""
    best = float("inf")
    for _ in range(20):
        began = time.thread_time()
        plan(**situation)
        best = min(best, time.thread_time() - began)
    return best


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("coverage", [NOTHING, WindowSet.between(ORIGIN, ORIGIN + DAY)])
def test_g9_ten_years_are_not_cut_to_find_one_window(coverage: WindowSet, newest_first: bool) -> None:
    """The next window of 3 650 is found in microseconds, with and without upstreams."""
    ten_years = ORIGIN + 3650 * DAY
    upstream = Upstream(coverage=WindowSet.between(ORIGIN + 1800 * DAY, ten_years), moving=True)
    for upstreams in ((), (upstream,)):
        cost = quickest(
            history_start=ORIGIN,
            coverage=coverage,
            terms=Terms(newest_first=newest_first),
            now=ten_years,
            upstreams=upstreams,
        )
        assert cost < 0.001


@pytest.mark.parametrize("moving", [False, True])
def test_g9_thousands_of_holes_cost_one_walk_over_them(moving: bool) -> None:
    """Coverage and an upstream of 5 000 pieces each: no piece is compared with every other."""
    coverage = WindowSet(tuple(window(3 * n, 3 * n + 1) for n in range(5_000)))
    upstream = Upstream(coverage=WindowSet(tuple(window(3 * n, 3 * n + 2) for n in range(5_000))), moving=moving)
    found = partial(
        plan,
        history_start=ORIGIN,
        coverage=coverage,
        terms=Terms(interval=timedelta()),
        now=at(15_000),
        upstreams=(upstream,),
        at_most=ALL,
    )
    began = time.thread_time()
    assert len(found().ready) == (0 if moving else 5_000)
    assert time.thread_time() - began < 2
