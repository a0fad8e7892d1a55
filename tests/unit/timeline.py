"""Times as whole minutes, so that a set of integers can be the model of a set of instants."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from tenantcollect.windows import Window, WindowSet

ORIGIN = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LAST = 40


def at(minute: int) -> datetime:
    """The instant ``minute`` minutes after the origin."""
    return ORIGIN + minute * MINUTE


def window(start: int, end: int) -> Window:
    """``[start, end)`` in minutes."""
    return Window(at(start), at(end))


def windows(*pairs: tuple[int, int]) -> WindowSet:
    """The union of ``pairs``."""
    return WindowSet.of(window(*pair) for pair in pairs)


def model(pieces: Iterable[Window]) -> set[int]:
    """The minutes of ``pieces``, each as its first instant."""
    return {minute for piece in pieces for minute in range(*pair(piece))}


def pair(piece: Window) -> tuple[int, int]:
    """``piece`` in minutes."""
    return (piece.start - ORIGIN) // MINUTE, (piece.end - ORIGIN) // MINUTE


def minutes(least: int = 0, most: int = LAST) -> st.SearchStrategy[timedelta]:
    """A duration of whole minutes."""
    return st.integers(least, most).map(lambda n: n * MINUTE)


some_windows = st.lists(
    st.tuples(st.integers(0, LAST), st.integers(1, 12)).map(lambda t: window(t[0], t[0] + t[1])), max_size=8
)
window_sets = some_windows.map(WindowSet.of)
