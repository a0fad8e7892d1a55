"""Windows of time and sets of them: the interval algebra behind G1 (floor: ground, pure).

Everything is half-open ``[start, end)`` and timezone-aware UTC; a naive datetime is refused.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Self

from attrs import field, frozen

from tenantcollect.errors import ConfigurationError, CoverageInvalid

__all__ = ["NOTHING", "Window", "WindowSet", "utc"]

START, END = attrgetter("start"), attrgetter("end")


def utc(value: object, what: str = "a time") -> datetime:
    """``value`` in UTC.

    Raises :class:`ConfigurationError` unless it is a timezone-aware datetime whose UTC form exists.
    """
    if isinstance(value, datetime) and value.tzinfo is UTC:
        return value
    if not isinstance(value, datetime):
        raise ConfigurationError(f"{what} must be a datetime, not {type(value).__name__}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise ConfigurationError(f"{what} has no time zone; use an aware datetime such as datetime.now(UTC)")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ConfigurationError(f"{what} is outside the years 1 to 9999") from None


def _start(value: object) -> datetime:
    return utc(value, "window start")


def _end(value: object) -> datetime:
    return utc(value, "window end")


@frozen(order=True)
class Window:
    """A half-open range of time ``[start, end)``, both in UTC, never empty."""

    start: datetime = field(converter=_start)
    end: datetime = field(converter=_end)

    def __attrs_post_init__(self) -> None:
        if self.start >= self.end:
            raise ConfigurationError(f"a window must end after it starts, not {self}")

    @property
    def duration(self) -> timedelta:
        """The length of the window."""
        return self.end - self.start

    def contains(self, other: Self) -> bool:
        """Whether every instant of ``other`` is in this window."""
        return self.start <= other.start and other.end <= self.end

    def intersection(self, other: Self) -> Self | None:
        """The instants in both, or None."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return type(self)(start, end) if start < end else None

    def split(self, size: timedelta, *, backwards: bool = False) -> Iterator[Self]:
        """The window cut from its start into pieces of ``size``; the last may be shorter.

        Lazily, from the last piece on if ``backwards``. Raises :class:`ConfigurationError` unless ``size`` is
        positive.
        """
        if size <= timedelta():
            raise ConfigurationError(f"a window cannot be cut into pieces of {size}")
        pieces = range(-(-self.duration // size))
        for index in reversed(pieces) if backwards else pieces:
            start = self.start + index * size
            yield type(self)(start, start + min(size, self.end - start))

    def __str__(self) -> str:
        return f"[{self.start.isoformat()}, {self.end.isoformat()})"


@frozen
class WindowSet:
    """A set of instants, kept as merged, ordered windows that never touch; holes stay visible."""

    pieces: tuple[Window, ...] = ()

    @classmethod
    def of(cls, windows: Iterable[Window]) -> Self:
        """The union of ``windows``, in any order, overlapping or not."""
        merged: list[Window] = []
        for window in sorted(windows, key=START):
            if merged and window.start <= merged[-1].end:
                merged[-1] = Window(merged[-1].start, max(merged[-1].end, window.end))
            else:
                merged.append(window)
        return cls(tuple(merged))

    @classmethod
    def between(cls, start: datetime, end: datetime) -> Self:
        """``[start, end)``, or nothing where ``start`` is not before ``end``."""
        return cls((Window(start, end),)) if start < end else cls()

    @classmethod
    def from_json(cls, pairs: object) -> Self:
        """Coverage as it is stored: a list of ``[start, end]`` ISO 8601 texts with offset, merged, ordered.

        Raises :class:`CoverageInvalid` for anything else; it is never repaired in silence.
        """
        try:
            windows = [_stored(pair) for pair in _listed(pairs)]
        except (TypeError, ValueError, ConfigurationError) as error:
            problem = f"The stored coverage is not a list of windows ({error}); replay the key."
            raise CoverageInvalid(problem) from None
        if cls.of(windows).pieces != tuple(windows):
            raise CoverageInvalid("The stored coverage is not ordered and merged; replay the key.")
        return cls(tuple(windows))

    def to_json(self) -> list[list[str]]:
        """Pairs of ISO 8601 texts with offset."""
        return [[piece.start.isoformat(), piece.end.isoformat()] for piece in self.pieces]

    @property
    def end(self) -> datetime | None:
        """The end of the newest piece, or None."""
        return self.pieces[-1].end if self.pieces else None

    def piece_at(self, instant: datetime) -> Window | None:
        """The unbroken piece that holds ``instant``, or None."""
        index = bisect_right(self.pieces, instant, key=START)
        piece = self.pieces[index - 1] if index else None
        return piece if piece and instant < piece.end else None

    def unbroken_end(self, start: datetime) -> datetime | None:
        """The end of the unbroken piece that holds the instant ``start``, or None."""
        piece = self.piece_at(start)
        return piece.end if piece else None

    def covers(self, window: Window) -> bool:
        """Whether no instant of ``window`` is missing."""
        piece = self.piece_at(window.start)
        return piece is not None and piece.contains(window)

    def __bool__(self) -> bool:
        return bool(self.pieces)

    def __iter__(self) -> Iterator[Window]:
        return iter(self.pieces)

    def __or__(self, other: Self) -> Self:
        return type(self).of((*self.pieces, *other.pieces))

    def __and__(self, other: Self) -> Self:
        return type(self)(tuple(_common(self.pieces, other.pieces)))

    def __sub__(self, other: Self) -> Self:
        return type(self)(tuple(gap for piece in self.pieces for gap in _gaps(piece, other.pieces)))


NOTHING = WindowSet()


def _common(left: tuple[Window, ...], right: tuple[Window, ...]) -> Iterator[Window]:
    i = j = 0
    while i < len(left) and j < len(right):
        both = left[i].intersection(right[j])
        if both:
            yield both
        if left[i].end <= right[j].end:
            i += 1
        else:
            j += 1


def _gaps(window: Window, covered: tuple[Window, ...]) -> Iterator[Window]:
    start = window.start
    for index in range(bisect_right(covered, start, key=END), len(covered)):
        piece = covered[index]
        if piece.start >= window.end:
            break
        if piece.start > start:
            yield Window(start, piece.start)
        start = piece.end
    if start < window.end:
        yield Window(start, window.end)


def _listed(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} is no list")
    return value


def _stored(pair: object) -> Window:
    start, end = (datetime.fromisoformat(str(text)) for text in _listed(pair))
    return Window(start, end)
