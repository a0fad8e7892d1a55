"""What is still to be collected for a key, cut into windows: one pure formula (floor: contracts, pure).

    todo(key) = ( [history_start, horizon) minus coverage(key) ) ∩ coverage(each upstream)
    horizon   = max(now - settle, end of coverage, end of an unfinished window)

Catch-up after an outage, backfill, replay and the retry of a hole are all this formula (DESIGN 3, G1, G5).
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import reduce
from itertools import chain, islice
from operator import and_

from attrs import field, frozen

from tenantcollect.windows import NOTHING, Window, WindowSet

__all__ = ["Plan", "Terms", "Upstream", "plan", "seen_by_dependents"]


@frozen(kw_only=True)
class Terms:
    """How a key is cut: its collector's options, with what the tenant's configuration overrides.

    ``duration`` None means one window per unbroken piece. ``interval`` keeps the newest window from being cut
    short: a whole window never waits for it.
    """

    duration: timedelta | None = timedelta(hours=24)
    interval: timedelta = timedelta(minutes=15)
    settle: timedelta = timedelta()
    snapshot: bool = False
    newest_first: bool = False

    def due_after(self, covered: datetime, size: timedelta | None = None) -> datetime:
        """When what follows ``covered`` is due: after the interval, or as soon as a window is whole."""
        size = None if self.snapshot else size or self.duration
        return covered + min(self.interval, size or self.interval) + self.settle


@frozen(kw_only=True)
class Upstream:
    """One upstream as its dependents see it; ``moving`` = it may still extend its coverage in this pass."""

    coverage: WindowSet
    moving: bool = False


@frozen(kw_only=True)
class Plan:
    """The next windows of a key and what stands behind them.

    ``holes`` is all that is missing. ``ready`` are the windows that may be run now, of the ``windows_left``
    that are due, with or without upstreams. ``blocked`` is what is due and not covered by the upstreams;
    ``due_at`` is when the piece at the horizon becomes due, if it is delayed by the interval.
    """

    horizon: datetime
    ready: tuple[Window, ...] = ()
    blocked: WindowSet = NOTHING
    due_at: datetime | None = None
    holes: WindowSet = field(default=NOTHING)
    windows_left: int = 0


def seen_by_dependents(coverage: WindowSet, terms: Terms) -> WindowSet:
    """The coverage that bounds dependents: a snapshot still covers until its next interval is overdue."""
    if not terms.snapshot or coverage.end is None:
        return coverage
    return coverage | WindowSet.between(coverage.end, coverage.end + terms.interval)


def plan(
    *,
    history_start: datetime,
    coverage: WindowSet,
    terms: Terms,
    now: datetime,
    upstreams: tuple[Upstream, ...] = (),
    window_limit: timedelta | None = None,
    unfinished: Window | None = None,
    at_most: int = 1,
) -> Plan:
    """The next ``at_most`` windows of a key.

    Every hole is cut along a grid that begins at its start, so the windows are the same ones in either order.
    ``window_limit`` is the halved size after WindowTooLarge; ``unfinished`` a window with a resume point,
    planned again with the same bounds, before all else. Times must be in UTC; nothing is raised.
    """
    begun = _begun(unfinished, history_start, coverage, terms)
    horizon = max([now - terms.settle, *(piece.end for piece in (*coverage.pieces[-1:], *begun))])
    holes = WindowSet.between(history_start, horizon) - coverage
    size = None if terms.snapshot else min(filter(None, (terms.duration, window_limit)), default=None)
    if not all(up.coverage.covers(window) for window in begun for up in upstreams):
        return Plan(horizon=horizon, blocked=WindowSet(begun), holes=holes, windows_left=len(begun))
    missing = holes - WindowSet(begun)
    late = _late(missing, horizon, size, terms.interval, new=not (coverage or begun))
    due = missing - late
    if terms.snapshot:
        whole = _snapshot(history_start, horizon, upstreams)
        open_pieces, left = due & whole, min(1, len(due.pieces))
        windows = iter(whole if open_pieces else ())
    else:
        open_pieces, left = _open(due, size, upstreams), sum(_count(hole.duration, size) for hole in due)
        windows = _cut(open_pieces, size, terms.newest_first)
    return Plan(
        horizon=horizon,
        ready=tuple(islice(chain(begun, windows), at_most)),
        blocked=due - open_pieces,
        due_at=terms.due_after(late.pieces[0].start, size) if late else None,
        holes=holes,
        windows_left=len(begun) + left,
    )


def _begun(unfinished: Window | None, history_start: datetime, coverage: WindowSet, terms: Terms) -> tuple[Window, ...]:
    """The window with a resume point, if it is still missing. Rows of it are durable: whatever became of sizes, limits
    and the clock, it is neither cut nor overlapped by another, or they would be collected twice (G2).
    """
    if unfinished is None:
        return ()
    missing = WindowSet((unfinished,)) - coverage
    if terms.snapshot:
        fits = unfinished.start == history_start and bool(missing)
    else:
        fits = unfinished.start >= history_start and missing.covers(unfinished)
    return (unfinished,) if fits else ()


def _late(
    missing: WindowSet, horizon: datetime, size: timedelta | None, interval: timedelta, *, new: bool
) -> WindowSet:
    """What the interval delays: a last window at the horizon that is shorter than the interval and the size.

    A key without coverage waits for nothing, if that window is all there is.
    """
    if missing.end != horizon:
        return NOTHING
    hole = missing.pieces[-1]
    start = hole.start if size is None else hole.start + hole.duration // size * size
    short = horizon - start < interval and not (new and start == hole.start)
    return WindowSet.between(start, horizon) if short else NOTHING


def _open(due: WindowSet, size: timedelta | None, upstreams: tuple[Upstream, ...]) -> WindowSet:
    """What the upstreams cover of ``due``; while one moves, only the windows that it cannot make longer."""
    covered = reduce(and_, (up.coverage for up in upstreams), due)
    if not any(up.moving for up in upstreams):
        return covered
    whole = (_whole(part, due.piece_at(part.start) or part, size) for part in covered)
    return WindowSet(tuple(chain.from_iterable(whole)))


def _whole(part: Window, hole: Window, size: timedelta | None) -> WindowSet:
    """``part`` without the windows it holds only a piece of."""
    step = size or hole.duration
    start = hole.start - (hole.start - part.start) // step * step
    end = part.end if part.end == hole.end else hole.start + (part.end - hole.start) // step * step
    return WindowSet.between(start, end)


def _cut(pieces: WindowSet, size: timedelta | None, newest_first: bool) -> Iterator[Window]:
    """``pieces`` in windows, lazily: ten years are not cut to find one."""
    for piece in reversed(pieces.pieces) if newest_first else pieces:
        yield from piece.split(size or piece.duration, backwards=newest_first)


def _count(duration: timedelta, size: timedelta | None) -> int:
    return -(-duration // size) if size else 1


def _snapshot(history_start: datetime, horizon: datetime, upstreams: tuple[Upstream, ...]) -> WindowSet:
    """One window from the history start, bounded by the unbroken coverage of the upstreams."""
    end = min([horizon, *(up.coverage.unbroken_end(history_start) or history_start for up in upstreams)])
    if end < horizon and any(up.moving for up in upstreams):
        return NOTHING
    return WindowSet.between(history_start, end)
