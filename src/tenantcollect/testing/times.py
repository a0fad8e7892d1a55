"""The rules about time: half-open windows, in any order, and UTC (floor: testing)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tenantcollect.collectors import Collector
from tenantcollect.testing.case import Case, described, require
from tenantcollect.testing.collectors import CollectorTests
from tenantcollect.testing.zones import FAR_ZONES, local_zone
from tenantcollect.windows import Window

__all__ = ["TimeRules"]

INSTANT = timedelta(microseconds=1)


class TimeRules(CollectorTests):
    """What belongs into a window, and what a time means."""

    def test_windows_are_half_open(self, case: Case) -> None:
        """Two adjacent windows give what one big window gives: nothing at the boundary is lost, or in both."""
        collector = windowed(case)
        boundaries = self._boundaries(case)
        for boundary in boundaries:
            for part in (Window(self.window.start, boundary), Window(boundary, self.window.end)):
                case.fresh()
                told = part.start - collector.options.lookback
                require(not (wrong := self._misplaced(case, part, told)), str(wrong))
            case.fresh()
            self._adjacent(case, boundary, backwards=False)
        if len(boundaries) == 1:
            pytest.skip("no row has a time inside the window, so that nothing could be cut off: name a longer window")

    def test_windows_come_in_any_order(self, case: Case) -> None:
        """The later window first gives the same rows: a hole is filled when the source answers again."""
        windowed(case)
        if case.whole.cursor is not None:
            pytest.skip("a script with a cursor goes forward only")
        for boundary in self._boundaries(case):
            case.fresh()
            self._adjacent(case, boundary, backwards=True)

    def test_times_are_utc(self, case: Case) -> None:
        """Every time that is written is aware and in UTC, wherever the process runs."""
        case.fresh()
        case.run()
        wrong = case.harness.watched.sent.wrong
        require(not wrong, f"{case.script} wrote {len(wrong)} times that are not UTC, such as {''.join(wrong[:1])}")
        cure = "never use datetime.now() or fromtimestamp() without UTC, nor .timestamp() of a naive datetime"
        for zone in FAR_ZONES:
            case.fresh()
            with local_zone(zone):
                there = case.run()
            where = f"with TZ={zone}"
            require(there.error is None, f"{where}, {case.script} failed; {cure}\n{described(there.error)}")
            require(not (wrong_rows := case.differs(there.rows)), f"{where}, {wrong_rows}; {cure}")

    def _boundaries(self, case: Case) -> list[datetime]:
        """Where to cut the window: exactly at a time that stands in a row, just after it, and in the middle."""
        start, end = self.window.start, self.window.end
        found = sorted({time for time in self._times(case) if start < time < end - INSTANT})
        middle = start + (end - start) / 2
        return [cut for time in found[len(found) // 2 :][:1] for cut in (time, time + INSTANT)] + [middle]

    def _times(self, case: Case) -> Iterator[datetime]:
        for name in case.written():
            for row in case.whole.rows[name]:
                values = [row[self.dated[name]]] if name in self.dated else row.values()
                yield from (time for time in map(instant, values) if time is not None)

    def _misplaced(self, case: Case, part: Window, told: datetime) -> str | None:
        """What a part of the window wrote that belongs into another, or did not write that belongs here."""
        found = case.run(part)
        if found.error is not None:
            return f"{case.script} failed in {part}: {described(found.error)}"
        for name, column in self.dated.items():
            new = [row for row in found.rows[name] if row not in case.before[name]]
            late = next((row for row in new if not within(told, row[column], part.end)), None)
            if late is not None:
                return (
                    f"{case.script} wrote into {name} what does not belong into {part}, such as {late}; "
                    f"take `start_date <= item.{column} < end_date`, without the end"
                )
            wanted = [row for row in case.whole.rows[name] if row not in case.before[name] and row[column] is not None]
            there = {row[column] for row in found.rows[name]}
            lost = next(
                (row for row in wanted if within(part.start, row[column], part.end) and row[column] not in there), None
            )
            if lost is not None:
                return f"{case.script} lost what belongs into {part}, such as {lost}; the start is part of the window"
        return None

    def _adjacent(self, case: Case, boundary: datetime, *, backwards: bool) -> None:
        parts = [Window(self.window.start, boundary), Window(boundary, self.window.end)]
        for part in reversed(parts) if backwards else parts:
            done = case.run(part)
            require(done.error is None, f"{case.script} failed in {part}: {described(done.error)}")
        order = "the later first" if backwards else "one after the other"
        wrong = case.differs(case.harness.rows())
        require(
            not wrong,
            f"two windows that meet at {boundary.isoformat()}, {order}, give other rows than one: {wrong}; "
            "take `start_date <= item.date < end_date`, and merge with what is there instead of replacing it",
        )


def windowed(case: Case) -> Collector:
    """The case's collector; skipped if it knows no windows."""
    collector = case.harness.collector(case.script)
    if collector.options.snapshot:
        pytest.skip("a snapshot knows no windows")
    return collector


def instant(value: Any) -> datetime | None:
    """The instant that a row's value is, if it is one; without a time zone it is UTC."""
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def within(start: datetime, value: Any, end: datetime) -> bool:
    """Whether a row belongs into ``[start, end)``; one without an instant belongs everywhere."""
    time = instant(value)
    return time is None or start <= time < end
