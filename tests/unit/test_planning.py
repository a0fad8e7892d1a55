"""The planning formula: against a model of integers, over whole histories, and in the figures the docs promise."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tenantcollect.planning import Plan, Terms, Upstream, plan, seen_by_dependents
from tenantcollect.windows import NOTHING, Window, WindowSet
from tests.unit.timeline import LAST, MINUTE, ORIGIN, at, minutes, model, pair, window, window_sets, windows

DAY = timedelta(days=1)
ALL = 10_000
QUARTER = timedelta(minutes=15)

sizes = st.none() | minutes(1, 12)
terms = st.builds(Terms, duration=sizes, interval=minutes(0, 12), settle=minutes(0, 3), newest_first=st.booleans())
upstream_sets = st.lists(st.builds(Upstream, coverage=window_sets, moving=st.booleans()), max_size=2).map(tuple)
limits = st.none() | minutes(1, 8)
situations = st.fixed_dictionaries(
    {
        "history_start": st.integers(-2, 10).map(at),
        "coverage": window_sets,
        "terms": terms,
        "now": st.integers(0, LAST + 20).map(at),
        "window_limit": limits,
    }
)
Situation = dict[str, Any]


def size_of(situation: Situation) -> timedelta:
    """The longest window that may be planned."""
    given_sizes = (situation["terms"].duration, situation["window_limit"])
    return min((s for s in given_sizes if s is not None), default=timedelta.max)


def span(situation: Situation) -> set[int]:
    """The minutes from the history start to the horizon."""
    coverage, earliest = situation["coverage"], situation["now"] - situation["terms"].settle
    horizon = max(earliest, coverage.end or earliest)
    return model(WindowSet.between(situation["history_start"], horizon))


def late(situation: Situation, found: Plan) -> set[int]:
    """The minutes that only wait for the interval."""
    if found.due_at is None:
        return set()
    start = found.due_at - min(situation["terms"].interval, size_of(situation)) - situation["terms"].settle
    return model(WindowSet.between(start, found.horizon))


def sealed(situation: Situation, piece: Window) -> Situation:
    """The situation after ``piece`` was committed."""
    return {**situation, "coverage": situation["coverage"] | WindowSet((piece,))}


def one_by_one(situation: Situation, **more: Any) -> Iterator[Window]:
    """What is run when every window is planned anew after the commit of the one before."""
    while ready := plan(**situation, **more).ready:
        yield ready[0]
        situation = sealed(situation, ready[0])


# --- the formula ------------------------------------------------------------------------------------------------------


@given(situations, upstream_sets)
def test_g1_no_gap_what_is_planned_blocked_or_late_is_all_that_is_missing(
    situation: Situation, upstreams: tuple[Upstream, ...]
) -> None:
    """todo = ([history_start, horizon) minus coverage) ∩ coverage(upstreams), and nothing is forgotten."""
    found = plan(**situation, upstreams=upstreams, at_most=ALL)
    missing = span(situation) - model(situation["coverage"])
    ready, blocked, waiting = model(found.ready), model(found.blocked), late(situation, found)
    assert model(found.holes) == missing
    assert ready | blocked | waiting == missing
    assert len(ready) + len(blocked) + len(waiting) == len(missing)


@given(situations, upstream_sets)
def test_g1_windows_are_disjoint_ordered_and_never_longer_than_the_duration(
    situation: Situation, upstreams: tuple[Upstream, ...]
) -> None:
    """No window overlaps another or the coverage, and none exceeds the duration or its halved limit."""
    found = plan(**situation, upstreams=upstreams, at_most=ALL)
    ordered = found.ready[::-1] if situation["terms"].newest_first else found.ready
    assert all(piece.duration <= size_of(situation) for piece in ordered)
    assert all(earlier.end <= later.start for earlier, later in pairwise(ordered))
    assert WindowSet.of(ordered) & situation["coverage"] == NOTHING


@given(situations, upstream_sets)
def test_g5_no_window_outside_the_coverage_of_an_upstream(
    situation: Situation, upstreams: tuple[Upstream, ...]
) -> None:
    """Every planned window is covered by every upstream, as a whole."""
    for piece in plan(**situation, upstreams=upstreams, at_most=ALL).ready:
        assert all(upstream.coverage.covers(piece) for upstream in upstreams)


@given(situations, upstream_sets)
def test_g5_all_that_upstreams_cover_is_taken_once_they_do_not_move(
    situation: Situation, upstreams: tuple[Upstream, ...]
) -> None:
    """With upstreams at rest the dependent takes whatever they cover and is due, also in short pieces."""
    still = tuple(evolve(upstream, moving=False) for upstream in upstreams)
    found = plan(**situation, upstreams=still, at_most=ALL)
    expected = span(situation) - model(situation["coverage"]) - late(situation, found)
    for upstream in still:
        expected &= model(upstream.coverage)
    assert model(found.ready) == expected


def test_g5_what_a_stuck_upstream_covers_is_cut_from_where_it_begins() -> None:
    """In as few windows as there can be."""
    upstream = Upstream(coverage=windows((5, 28), (33, 36)))
    found = quarters(
        coverage=NOTHING, terms=Terms(duration=10 * MINUTE), now=at(60), upstreams=(upstream,), at_most=ALL
    )
    assert [pair(piece) for piece in found.ready] == [(5, 15), (15, 25), (25, 28), (33, 36)]


@given(situations, window_sets)
def test_g5_short_pieces_are_not_taken_while_an_upstream_moves(situation: Situation, covered: WindowSet) -> None:
    """While the upstream moves, a dependent runs exactly those windows that it would run without any upstream."""
    alone = plan(**situation, at_most=ALL).ready
    beside = plan(**situation, upstreams=(Upstream(coverage=covered, moving=True),), at_most=ALL).ready
    assert beside == tuple(piece for piece in alone if covered.covers(piece))


@given(situations, upstream_sets, st.integers(0, 5))
def test_at_most_is_the_beginning_of_the_whole_plan(
    situation: Situation, upstreams: tuple[Upstream, ...], at_most: int
) -> None:
    """Asking for fewer windows gives the first ones, and tells the same of all the rest."""
    whole = plan(**situation, upstreams=upstreams, at_most=ALL)
    some = plan(**situation, upstreams=upstreams, at_most=at_most)
    assert some == evolve(whole, ready=whole.ready[:at_most])


@given(situations)
def test_windows_left_counts_what_is_still_to_be_run(situation: Situation) -> None:
    """The number is told without cutting the windows, and is the number of windows."""
    found = plan(**situation, at_most=ALL)
    assert found.windows_left == len(found.ready)


@given(situations)
def test_planning_one_by_one_gives_the_windows_of_the_whole_plan(situation: Situation) -> None:
    """What `plan` shows is what the passes do: replanning after each commit changes no window."""
    assert list(one_by_one(situation)) == list(plan(**situation, at_most=ALL).ready)


@given(situations)
def test_both_orders_run_the_same_windows(situation: Situation) -> None:
    """Newest first is oldest first, read backwards."""
    forward = {**situation, "terms": evolve(situation["terms"], newest_first=False)}
    backward = {**situation, "terms": evolve(situation["terms"], newest_first=True)}
    assert plan(**forward, at_most=ALL).ready == plan(**backward, at_most=ALL).ready[::-1]


# --- whole histories --------------------------------------------------------------------------------------------------


@given(situations, st.data())
def test_g1_whatever_commits_or_fails_coverage_is_the_union_and_planning_ends_in_no_holes(
    situation: Situation, data: st.DataObject
) -> None:
    """Random windows of the plan commit whole, commit in part, or fail; then all the rest is collected."""
    committed = situation["coverage"]
    for _ in range(data.draw(st.integers(0, 6), "attempts")):
        ready = plan(**situation, at_most=ALL).ready
        if not ready:
            break
        piece = data.draw(st.sampled_from(ready), "window")
        until = data.draw(st.integers(pair(piece)[0], pair(piece)[1]).map(at), "sealed until")
        if until > piece.start:
            committed = committed | WindowSet.between(piece.start, until)
            situation = sealed(situation, Window(piece.start, until))
    for piece in one_by_one(situation):
        assert committed & WindowSet((piece,)) == NOTHING
        committed = committed | WindowSet((piece,))
    left = plan(**{**situation, "coverage": committed})
    assert model(left.holes) == late(situation, left)
    assert model(committed) >= span(situation) - late(situation, left)


@given(terms, terms, st.integers(1, LAST), st.lists(st.integers(0, 30), max_size=5), st.data())
def test_g5_a_pair_of_keys_ends_complete_and_the_dependent_never_passes(
    above: Terms, below: Terms, length: int, pauses: list[int], data: st.DataObject
) -> None:
    """Passes over time, in which an upstream and its dependent take turns at random, windows failing now and then."""
    settle, snapshot = data.draw(minutes(0, 3), "settle"), data.draw(st.booleans(), "the upstream is a snapshot")
    above, below = evolve(above, settle=settle, snapshot=snapshot), evolve(below, settle=settle)
    up, down, now = NOTHING, NOTHING, at(length) + settle
    for pause in [*pauses, LAST]:
        up, down = _passed(up, down, above, below, now, data)
        assert model(down) <= model(seen_by_dependents(up, above))
        now += pause * MINUTE
    up, down = _passed(up, down, above, below, now, None)
    rest = plan(history_start=ORIGIN, coverage=down, terms=below, now=now, upstreams=(Upstream(coverage=up),))
    delayed = plan(history_start=ORIGIN, coverage=up, terms=above, now=now)
    assert model(rest.blocked) <= model(delayed.holes)
    assert not delayed.ready
    assert not rest.ready


def _passed(
    up: WindowSet, down: WindowSet, above: Terms, below: Terms, now: datetime, data: st.DataObject | None
) -> tuple[WindowSet, WindowSet]:
    """One pass: until nothing is runnable; with ``data`` a window may fail, and its key is out for this pass."""
    out = set[str]()
    while True:
        upstream = plan(history_start=ORIGIN, coverage=up, terms=above, now=now).ready if "up" not in out else ()
        seen = Upstream(coverage=seen_by_dependents(up, above), moving=bool(upstream))
        dependent = plan(history_start=ORIGIN, coverage=down, terms=below, now=now, upstreams=(seen,)).ready
        runnable = {"up": upstream, "down": () if "down" in out else dependent}
        names = [name for name, ready in runnable.items() if ready]
        if not names:
            return up, down
        name = data.draw(st.sampled_from(names), "whose turn") if data else names[0]
        if data and data.draw(st.integers(0, 4), "fails at 0") == 0:
            out.add(name)
        elif name == "up":
            up = up | WindowSet(runnable[name])
        else:
            assert all(seen.coverage.covers(piece) for piece in dependent)
            assert not down & WindowSet(dependent)
            down = down | WindowSet(runnable[name])


@pytest.mark.parametrize("upstream_days", [1, 7])
@pytest.mark.parametrize("days", [1, 7])
@pytest.mark.parametrize("newest_first", [False, True])
def test_a_dependent_in_step_with_its_upstream_is_not_cut_shorter_than_alone(
    upstream_days: int, days: int, newest_first: bool
) -> None:
    """90 days in windows of 1 and of 7 days, side by side: the dependent still takes 90 or 13 windows."""
    above = Terms(duration=timedelta(days=upstream_days), newest_first=newest_first)
    below = Terms(duration=timedelta(days=days), newest_first=newest_first)
    now = ORIGIN + 90 * DAY
    up, down, count = NOTHING, NOTHING, 0
    for _ in range(200):
        moved = plan(history_start=ORIGIN, coverage=up, terms=above, now=now).ready
        up = up | WindowSet(moved)
        seen = (Upstream(coverage=up, moving=bool(moved)),)
        taken = plan(history_start=ORIGIN, coverage=down, terms=below, now=now, upstreams=seen).ready
        down, count = down | WindowSet(taken), count + len(taken)
    assert down == up == WindowSet.between(ORIGIN, now)
    assert count == {1: 90, 7: 13}[days]


# --- the promised figures ---------------------------------------------------------------------------------------------

quarters = partial(plan, history_start=ORIGIN)
later = [timedelta(), timedelta(microseconds=1), timedelta(seconds=1), MINUTE, QUARTER - timedelta(seconds=1)]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("after", later)
@pytest.mark.parametrize(("days", "count"), [(1, 90), (7, 13)])
def test_g1_ninety_days_are_exactly_90_windows_of_a_day_and_13_of_a_week(
    days: int, count: int, after: timedelta, newest_first: bool
) -> None:
    """Also when the pass begins a little after the history was fixed: the short tail waits for the interval."""
    settings = Terms(duration=timedelta(days=days), newest_first=newest_first)
    situation = {"history_start": ORIGIN, "coverage": NOTHING, "terms": settings, "now": ORIGIN + 90 * DAY + after}
    run = list(one_by_one(situation))
    assert len(run) == count == plan(**situation).windows_left
    assert plan(**situation, at_most=ALL).ready == tuple(run)
    covered = WindowSet.of(run)
    assert covered.unbroken_end(ORIGIN) == covered.end
    assert situation["now"] - (covered.end or ORIGIN) < QUARTER


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("after", later)
@pytest.mark.parametrize(("days", "count"), [(1, 30), (7, 5)])
def test_g1_thirty_days_later_exactly_the_missing_windows(
    days: int, count: int, after: timedelta, newest_first: bool
) -> None:
    """What was collected is not collected again, what was not is: 30 windows of a day, 5 of a week."""
    settings = Terms(duration=timedelta(days=days), newest_first=newest_first)
    covered = WindowSet.between(ORIGIN, ORIGIN + 90 * DAY)
    now = ORIGIN + 120 * DAY + after
    found = plan(history_start=ORIGIN, coverage=covered, terms=settings, now=now, at_most=ALL)
    assert len(found.ready) == count
    assert not WindowSet.of(found.ready) & covered
    assert now - ((WindowSet.of(found.ready) | covered).end or ORIGIN) < QUARTER


def test_g1_a_failed_window_stays_a_hole_until_it_succeeds() -> None:
    """After a failure in window 10 the nine are kept, and planning goes on from the tenth."""
    nine = WindowSet.between(ORIGIN, ORIGIN + 9 * DAY)
    found = plan(history_start=ORIGIN, coverage=nine, terms=Terms(), now=ORIGIN + 90 * DAY)
    assert found.ready == (Window(ORIGIN + 9 * DAY, ORIGIN + 10 * DAY),)
    assert found.windows_left == 81


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
