"""A collector for each way to break a rule about time; run by ``test_collector_suite``, not by our own suite."""

from datetime import datetime, timedelta, timezone

from sqlalchemy import Column, DateTime, Table, Text, text, update

from tenantcollect import upsert
from tests.testing.shop import EVENT, ITEMS, METADATA, Good, found, rows, suites

ANY_ORDER, HALF_OPEN, UTC_ONLY = "windows_come_in_any_order", "windows_are_half_open", "times_are_utc"
BERLIN = timezone(timedelta(hours=2))
SECOND = timedelta(seconds=1)
WALL = Table(
    "shop_wall",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("at", DateTime),
)


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


class TakesNoHours(Good):
    """Its source knows full hours only, and what it answers is not filtered again."""

    breaks = {HALF_OPEN: "the start is part of the window"}

    def items(self, token, start, end):
        start, end = (time.replace(minute=0, second=0, microsecond=0) for time in (start, end))
        return found(start, end)


class EndsASecondBefore(Good):
    """It loses what happens in the last second."""

    breaks = {HALF_OPEN: "the start is part of the window", ANY_ORDER: "lacks 1 rows"}

    def items(self, token, start, end):
        return [(name, at) for name, at in ITEMS if start <= at <= end - SECOND]


class WritesNaive(Good):
    breaks = {UTC_ONLY: "a naive datetime names no instant"}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, [(name, at.replace(tzinfo=None)) for name, at in items], context)


class WritesSummerTime(Good):
    """On SQLite another time is read than was meant; the fake has it so that this shows only here."""

    breaks = {UTC_ONLY: "use .astimezone(UTC)"}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, [(name, at.replace(tzinfo=BERLIN)) for name, at in items], context)


class UpdatesToSummerTime(Good):
    """What an UPDATE binds bears another name than its column."""

    breaks = {UTC_ONLY: "at = 2026-05-01T00:00:00+02:00: not in UTC"}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, items, context)
        for name, at in items:
            row = (EVENT.c.tenant_id == tenant_id, EVENT.c.id == name)
            db.execute(update(EVENT).where(*row).values(at=at.replace(tzinfo=BERLIN)))
            db.execute(update(EVENT).where(*row).values(at=at))


class SendsNaiveText(Good):
    """A text() knows no columns, and so nobody knows what its naive time means."""

    breaks = {UTC_ONLY: "a naive datetime names no instant"}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, [], context)
        sent = (
            "INSERT INTO shop_event (tenant_id, id, at, note) VALUES (:tenant, :name, :at, '') ON CONFLICT DO NOTHING"
        )
        for name, at in items:
            db.execute(text(sent), {"tenant": tenant_id, "name": name, "at": at.replace(tzinfo=None)})


class KeepsWallTime(Good):
    """Of a column without a time zone only the window says what it means."""

    breaks = {HALF_OPEN: "what does not belong into"}
    told = {"dated": {"shop_wall": "at"}}

    def write(self, db, tenant_id, items, context):
        shifted = [(name, at.astimezone(BERLIN).replace(tzinfo=None)) for name, at in items]
        upsert(db, WALL, [{"tenant_id": tenant_id, "id": name, "at": at} for name, at in shifted])


class KeepsTheLocalDay(Good):
    """At no hour is it the same day everywhere."""

    breaks = {UTC_ONLY: "never use datetime.now()"}

    def write(self, db, tenant_id, items, context):
        for name, at in items:
            local = datetime.fromtimestamp(at.timestamp())  # noqa: DTZ006 - the mistake itself
            upsert(db, EVENT, rows(tenant_id, [(name, at)], note=f"{local:%d}"))


class ReadsTheWallClock(Good):
    breaks = {UTC_ONLY: "never use datetime.now()"}

    def write(self, db, tenant_id, items, context):
        for name, at in items:
            local = datetime.fromtimestamp(at.timestamp())  # noqa: DTZ006 - the mistake itself
            upsert(db, EVENT, rows(tenant_id, [(name, at)], note=f"{local:%H:%M}"))


globals().update(suites(globals()))
