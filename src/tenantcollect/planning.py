"""What is still to be collected for a key, cut into windows: one pure formula (floor: contracts, pure).

    todo(key) = ( [history_start, horizon) minus coverage(key) ) ∩ coverage(each upstream)
    horizon   = max(now - settle, end of coverage)

Catch-up after an outage, backfill, replay and the retry of a hole are all this formula (DESIGN 3, G1, G5).
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import reduce
from operator import and_

from attrs import field, frozen

from tenantcollect.windows import NOTHING, Window, WindowSet

__all__ = ["Plan", "Terms", "Upstream", "plan", "seen_by_dependents"]


@frozen(kw_only=True)
class Terms:
    """How a key is cut: its collector's options, with what the tenant's configuration overrides.

    ``duration`` None means one window per unbroken piece.
    """

    duration: timedelta | None = timedelta(hours=24)
    interval: timedelta = timedelta(minutes=15)
    settle: timedelta = timedelta()
    snapshot: bool = False
    newest_first: bool = False


@frozen(kw_only=True)
class Upstream:
    """One upstream as its dependents see it; ``moving`` = it may still extend its coverage in this pass."""

    coverage: WindowSet
    moving: bool = False


@frozen(kw_only=True)
class Plan:
    """The next windows of a key and what stands behind them.

    ``ready`` are the windows that may be run now, in order. ``blocked`` is what the upstreams do not cover
    yet; ``due_at`` is when the piece at the horizon becomes due, if it is delayed by the interval.
    """

    horizon: datetime
    ready: tuple[Window, ...] = ()
    blocked: WindowSet = NOTHING
    due_at: datetime | None = None
    holes: WindowSet = field(default=NOTHING)


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

    ``window_limit`` is the halved size after WindowTooLarge; ``unfinished`` a window with a resume point, which
    is planned again with the same bounds. The sets given must be in UTC; nothing is raised.
    """
    horizon = max(now - terms.settle, coverage.end or now - terms.settle)
    missing = WindowSet.between(history_start, horizon) - coverage
    if terms.snapshot:
        return _snapshot(history_start, coverage, terms, horizon, upstreams)
    open_pieces = reduce(and_, (up.coverage for up in upstreams), missing)
    blocked = missing - open_pieces
    if unfinished and open_pieces.covers(unfinished):
        return Plan(horizon=horizon, ready=(unfinished,), blocked=blocked, holes=missing)
    ready: list[Window] = []
    due_at = None
    moving = any(up.moving for up in upstreams)
    size = min((s for s in (terms.duration, window_limit) if s is not None), default=None)
    for window in _cut(open_pieces, size, terms.newest_first):
        hole = next(piece for piece in missing if piece.contains(window))
        if coverage and _too_fresh(window, hole, horizon, size, terms.interval):
            due_at = hole.start + terms.interval if hole.duration < terms.interval else window.start + terms.interval
        elif moving and _may_grow(window, hole, size, terms.newest_first):
            blocked = blocked | WindowSet((window,))
        else:
            ready.append(window)
            if len(ready) == at_most:
                break
    return Plan(horizon=horizon, ready=tuple(ready), blocked=blocked, due_at=due_at, holes=missing)


def _cut(pieces: WindowSet, size: timedelta | None, newest_first: bool) -> Iterator[Window]:
    for piece in reversed(pieces.pieces) if newest_first else pieces:
        if size is None:
            yield piece
        elif newest_first:
            end = piece.end
            while end > piece.start:
                start = max(piece.start, end - size) if end - piece.start > size else piece.start
                yield Window(start, end)
                end = start
        else:
            yield from piece.split(size)


def _too_fresh(window: Window, hole: Window, horizon: datetime, size: timedelta | None, interval: timedelta) -> bool:
    """Whether the interval delays this window: it is (part of) the last piece, the one that touches the horizon."""
    if hole.end < horizon:
        return False
    short = window.end == horizon and window.duration < interval and (size is None or window.duration < size)
    return short or hole.duration < interval


def _may_grow(window: Window, hole: Window, size: timedelta | None, newest_first: bool) -> bool:
    """Whether a moving upstream could still make this window longer."""
    if size is not None and window.duration >= size:
        return False
    return window.start > hole.start if newest_first else window.end < hole.end


def _snapshot(
    history_start: datetime,
    coverage: WindowSet,
    terms: Terms,
    horizon: datetime,
    upstreams: tuple[Upstream, ...],
) -> Plan:
    """One window from the history start, bounded by the unbroken coverage of the upstreams."""
    ends = [up.coverage.unbroken_end(history_start) or history_start for up in upstreams]
    end = min([horizon, *ends])
    whole = WindowSet.between(history_start, horizon)
    blocked = WindowSet.between(end, horizon)
    due_at = coverage.end + terms.interval if coverage.end else None
    if due_at and horizon < due_at:
        return Plan(horizon=horizon, due_at=due_at)
    may_grow = end < horizon and any(up.moving for up in upstreams)
    if end <= (coverage.end or history_start) or may_grow:
        return Plan(horizon=horizon, blocked=blocked, holes=whole - coverage)
    return Plan(horizon=horizon, ready=(Window(history_start, end),), blocked=blocked, holes=whole - coverage)
