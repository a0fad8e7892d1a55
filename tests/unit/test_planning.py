"""The planning formula: against a model of integers, over whole histories, and in the figures the docs promise."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tenantcollect.planning import Terms, Upstream, plan, seen_by_dependents
from tenantcollect.windows import NOTHING, Window, WindowSet
from tests.unit.situations import (
    ALL,
    DAY,
    QUARTER,
    Situation,
    late,
    one_by_one,
    quarters,
    sealed,
    situations,
    size_of,
    span,
    terms,
    upstream_sets,
)
from tests.unit.timeline import LAST, MINUTE, ORIGIN, at, minutes, model, pair, window_sets, windows

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
