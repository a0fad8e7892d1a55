"""A collector for each way to break a rule about time; run by ``test_collector_suite``, not by our own suite."""

from datetime import datetime, timedelta, timezone

from tenantcollect import upsert
from tests.testing.shop import EVENT, ITEMS, Good, rows, suites

ANY_ORDER, HALF_OPEN, UTC_ONLY = "windows_come_in_any_order", "windows_are_half_open", "times_are_utc"
BERLIN = timezone(timedelta(hours=2))


class TakesTheEnd(Good):
    breaks = {HALF_OPEN: "start_date <= item.at < end_date"}

    def items(self, token, start, end):
        return [(name, at) for name, at in ITEMS if start <= at <= end]


class LosesTheStart(Good):
    breaks = {HALF_OPEN: "the start is part of the window", ANY_ORDER: "lacks 1 rows"}

    def items(self, token, start, end):
        return [(name, at) for name, at in ITEMS if start < at < end]


class KeepsTheLast(Good):
    """What came last is not what is newest, when an older window comes later."""

    breaks = {ANY_ORDER: "merge with what is there"}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, items, context)
        if items:
            upsert(db, EVENT, rows(tenant_id, [("latest", None)], note=items[-1][0]))


class WritesNaive(Good):
    breaks = {UTC_ONLY: "a naive datetime names no instant"}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, [(name, at.replace(tzinfo=None)) for name, at in items], context)


class WritesSummerTime(Good):
    """On SQLite another time is read than was meant; the fake has it so that this shows only here."""

    breaks = {UTC_ONLY: "use .astimezone(UTC)"}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, [(name, at.replace(tzinfo=BERLIN)) for name, at in items], context)


class ReadsTheWallClock(Good):
    breaks = {UTC_ONLY: "never use datetime.now()"}

    def write(self, db, tenant_id, items, context):
        for name, at in items:
            local = datetime.fromtimestamp(at.timestamp())  # noqa: DTZ006 - the mistake itself
            upsert(db, EVENT, rows(tenant_id, [(name, at)], note=f"{local:%H:%M}"))


globals().update(suites(globals()))
