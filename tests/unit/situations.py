"""Situations that are planned in, drawn and judged in minutes."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from hypothesis import strategies as st

from tenantcollect.planning import Plan, Terms, Upstream, plan
from tenantcollect.windows import Window, WindowSet
from tests.unit.timeline import LAST, ORIGIN, at, minutes, model, window_sets

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
quarters = partial(plan, history_start=ORIGIN)


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
