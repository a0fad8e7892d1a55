"""The interval algebra, against a model of plain sets of integers."""

import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenantcollect.errors import ConfigurationError, CoverageInvalid
from tenantcollect.windows import NOTHING, Window, WindowSet, utc
from tests.unit.timeline import LAST, MINUTE, at, minutes, model, pair, some_windows, window, window_sets, windows

instants = st.integers(-2, LAST + 14)


def assert_canonical(pieces: WindowSet) -> None:
    """Ordered, never empty, never touching: one set of instants has one form."""
    bounds = [bound for piece in pieces for bound in (piece.start, piece.end)]
    assert all(earlier < later for earlier, later in pairwise(bounds))


@given(some_windows.flatmap(lambda pieces: st.tuples(st.just(pieces), st.permutations(pieces))))
def test_g1_the_union_is_the_same_in_any_order(orders: tuple[list[Window], list[Window]]) -> None:
    """However windows are committed, coverage is the union of them, in one canonical form."""
    pieces, shuffled = orders
    expected = WindowSet.of(pieces)
    one_by_one = NOTHING
    for piece in shuffled:
        one_by_one = one_by_one | WindowSet((piece,))
    assert one_by_one == expected == WindowSet.of(shuffled)
    assert model(expected) == model(pieces)
    assert_canonical(expected)


@given(window_sets, window_sets)
def test_g1_union_intersection_and_difference_agree_with_sets(left: WindowSet, right: WindowSet) -> None:
    """The algebra is that of sets of instants, and its results are canonical."""
    for result, expected in (
        (left | right, model(left) | model(right)),
        (left & right, model(left) & model(right)),
        (left - right, model(left) - model(right)),
    ):
        assert model(result) == expected
        assert_canonical(result)


@given(window_sets, window_sets)
def test_g1_holes_and_coverage_make_up_the_whole(whole: WindowSet, coverage: WindowSet) -> None:
    """What is missing and what is there never overlap, and together leave no instant out."""
    holes = whole - coverage
    assert holes & coverage == NOTHING
    assert holes | (whole & coverage) == whole


@given(window_sets, instants)
def test_the_piece_at_an_instant_is_the_one_that_holds_it(pieces: WindowSet, minute: int) -> None:
    """Start belongs to a piece, end does not; the unbroken end is that piece's."""
    expected = next((p for p in pieces if p.start <= at(minute) < p.end), None)
    assert pieces.piece_at(at(minute)) == expected
    assert pieces.unbroken_end(at(minute)) == (expected.end if expected else None)


@given(window_sets, instants, st.integers(1, 8))
def test_covers_means_that_no_instant_is_missing(pieces: WindowSet, start: int, length: int) -> None:
    """A window is covered exactly if each of its minutes is."""
    probe = window(start, start + length)
    assert pieces.covers(probe) == (model([probe]) <= model(pieces))


@given(window_sets)
def test_the_end_is_that_of_the_newest_piece(pieces: WindowSet) -> None:
    """Nothing has no end."""
    assert pieces.end == max((piece.end for piece in pieces), default=None)
    assert bool(pieces) == bool(model(pieces))


@given(instants, st.integers(1, 50), minutes(1, 20))
def test_g1_a_split_leaves_no_gap(start: int, length: int, size: timedelta) -> None:
    """The pieces follow each other without a gap; only the last may be shorter than the size."""
    whole = window(start, start + length)
    pieces = list(whole.split(size))
    assert [p.start for p in pieces] == [whole.start, *(p.end for p in pieces[:-1])]
    assert pieces[-1].end == whole.end
    assert all(p.duration == size for p in pieces[:-1])
    assert pieces[-1].duration <= size
    assert list(whole.split(size, backwards=True)) == pieces[::-1]


@pytest.mark.parametrize("size", [timedelta(), -MINUTE])
def test_a_split_needs_a_positive_size(size: timedelta) -> None:
    """A size of nothing would never end."""
    with pytest.raises(ConfigurationError, match="pieces of"):
        list(window(0, 5).split(size))


@given(window_sets)
def test_json_brings_back_the_same_set(pieces: WindowSet) -> None:
    """Coverage is stored as ISO 8601 pairs with offset and read back as it was."""
    stored = pieces.to_json()
    assert WindowSet.from_json(stored) == pieces
    assert all(text.endswith("+00:00") for stored_pair in stored for text in stored_pair)


DAY_1, DAY_2, DAY_3 = (f"2024-01-0{day}T00:00:00+00:00" for day in (1, 2, 3))


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        {},
        7,
        "[]",
        [None],
        [[]],
        [DAY_1],
        [[DAY_1]],
        [[DAY_1, DAY_2, DAY_3]],
        [[DAY_1, 7]],
        [[DAY_1, "infinity"]],
        [{DAY_1: 0, DAY_2: 0}],
        [["2024-01-01T00:00:00", DAY_2]],
        [[DAY_2, DAY_1]],
        [[DAY_1, DAY_1]],
        [[DAY_2, DAY_3], [DAY_1, DAY_2]],
        [[DAY_1, DAY_2], [DAY_2, DAY_3]],
    ],
)
def test_coverage_edited_by_hand_is_refused_with_the_cure(stored: object) -> None:
    """Anything but a merged, ordered list of aware pairs is an error that says replay, never a repair."""
    with pytest.raises(CoverageInvalid, match="replay the key"):
        WindowSet.from_json(stored)


@given(st.datetimes(timezones=st.timezones() | st.builds(timezone, st.timedeltas(-MINUTE * 1439, MINUTE * 1439))))
@example(datetime.max.replace(tzinfo=timezone(-60 * MINUTE)))
@example(datetime.min.replace(tzinfo=timezone(60 * MINUTE)))
def test_times_become_utc_or_are_refused(moment: datetime) -> None:
    """Every aware time has one UTC form, the same instant; at the edge of the calendar it is refused."""
    try:
        expected = moment.astimezone(UTC)
    except OverflowError:
        with pytest.raises(ConfigurationError, match="years 1 to 9999"):
            utc(moment)
    else:
        assert utc(moment) == expected
        assert utc(moment).tzinfo is UTC


class _NoOffset(tzinfo):
    def utcoffset(self, moment: datetime | None) -> None:
        return None


@pytest.mark.parametrize("value", [datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=_NoOffset())])  # noqa: DTZ001
def test_naive_times_are_refused(value: datetime) -> None:
    """The message says what to write instead, and names the argument."""
    with pytest.raises(ConfigurationError, match=r"since has no time zone.*datetime\.now\(UTC\)"):
        utc(value, "since")
    with pytest.raises(ConfigurationError, match="window end has no time zone"):
        Window(at(0), value)


@pytest.mark.parametrize("value", [None, "2024-01-01", 5, timedelta(1)])
def test_only_datetimes_are_times(value: object) -> None:
    """A text is no time: it would have to be guessed."""
    with pytest.raises(ConfigurationError, match="must be a datetime, not"):
        utc(value)


@pytest.mark.parametrize(("start", "end"), [(3, 3), (4, 3)])
def test_a_window_is_never_empty(start: int, end: int) -> None:
    """A window that does not end after it starts is refused; between() makes nothing of it."""
    with pytest.raises(ConfigurationError, match="must end after it starts"):
        window(start, end)
    assert WindowSet.between(at(start), at(end)) == NOTHING


def test_windows_compare_by_instant_and_print_their_bounds() -> None:
    """Two spellings of one instant are one window; containment and intersection are half-open."""
    east = timezone(timedelta(hours=5))
    same = Window(at(0).astimezone(east), at(9).astimezone(east))
    assert same == window(0, 9)
    assert hash(same) == hash(window(0, 9))
    assert str(same) == "[2024-01-01T00:00:00+00:00, 2024-01-01T00:09:00+00:00)"
    assert same.contains(window(3, 9))
    assert not same.contains(window(3, 10))
    assert pair(window(0, 5).intersection(window(3, 8)) or same) == (3, 5)
    assert window(0, 5).intersection(window(5, 8)) is None


def test_the_algebra_stays_linear() -> None:
    """Twenty thousand holes cost a moment: nothing compares every piece with every other."""
    even = WindowSet(tuple(window(n, n + 1) for n in range(0, 40_000, 2)))
    began = time.thread_time()
    holes = windows((0, 40_000)) - even
    assert even - holes == even
    assert even & holes == NOTHING
    assert (even | holes) == windows((0, 40_000))
    assert all(even.covers(piece) for piece in even)
    assert time.thread_time() - began < 3
