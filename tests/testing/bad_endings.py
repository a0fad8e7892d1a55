"""A collector for each way to fail at all, to run twice, or to end; run by ``test_collector_suite`` only."""

import sqlite3
import threading

from sqlalchemy import insert

from tenantcollect import hookimpl, upsert
from tests.testing.shop import EVENT, Good, found, rows, suites

AGAIN, HOOKS, WINDOW = "running_again_changes_nothing", "hooks_are_sound", "the_window_is_collected"
CANCELLED, CRASHED, LOST = "a_cancelled_window_ends", "a_crash_loses_nothing", "a_lost_lease_writes_nothing"
ANY_ORDER, HALF_OPEN = "windows_come_in_any_order", "windows_are_half_open"


class LacksTheMark(Good):
    breaks = {HOOKS: "lacks @hookimpl"}

    def run(self, db, tenant_id, start_date, end_date, context):
        upsert(db, EVENT, rows(tenant_id, found(start_date, end_date)))


class ProvidesAText(Good):
    breaks = {HOOKS: "provides() must return a list"}

    @hookimpl
    def provides(self):
        return "event"


class DependsOnNobody(Good):
    breaks = {HOOKS: "into `seed`"}

    @hookimpl
    def dependencies(self):
        return ["groups"]


class WritesNothing(Good):
    breaks = {WINDOW: "name a window in which your fake has data"}

    def write(self, db, tenant_id, items, context):
        """Nothing is written."""


class Fails(Good):
    breaks = {WINDOW: "OSError: no such host"}

    def items(self, token, start, end):
        raise OSError("no such host")


class RemembersWhatItSaw(Good):
    """What was seen once is not written again, in this process; all other rules find nothing to look at."""

    breaks = {WINDOW: "keep nothing in variables of the module"}
    seen = set()

    def write(self, db, tenant_id, items, context):
        new = [item for item in items if (tenant_id, item) not in self.seen]
        self.seen.update((tenant_id, item) for item in new)
        super().write(db, tenant_id, new, context)


class NamesNoTable(Good):
    breaks = {WINDOW: "dated names shop_events.at; tables() has shop_event, shop_group"}
    told = {"dated": {"shop_events": "at"}}


class NamesNoTime(Good):
    breaks = {WINDOW: "dated names shop_event.note, which holds no date and time"}
    told = {"dated": {"shop_event": "note"}}


class NamesNoColumn(Good):
    breaks = {WINDOW: "no table has the column nota"}
    told = {"volatile": {"nota"}}


class NamesNoScript(Good):
    breaks = {WINDOW: "short names shop.events, which is none of its collectors"}
    told = {"short": {"shop.events"}}


class NamesOneInsteadOfSome(Good):
    breaks = {WINDOW: "short and volatile are sets of names"}
    told = {"short": "shop.event"}


class InsertsOnly(Good):
    breaks = {AGAIN: "use upsert()"}

    def write(self, db, tenant_id, items, context):
        db.execute(insert(EVENT), rows(tenant_id, items))


class NeverLooks(Good):
    breaks = {CANCELLED: "call context.raise_if_cancelled()"}

    @hookimpl
    def run(self, db, tenant_id, start_date, end_date):
        upsert(db, EVENT, rows(tenant_id, found(start_date, end_date)))


class SwallowsCancellation(Good):
    breaks = {CANCELLED: "let WindowCancelled go"}

    def write(self, db, tenant_id, items, context):
        for item in items:
            try:
                context.raise_if_cancelled()
                upsert(db, EVENT, rows(tenant_id, [item]))
            except Exception:  # noqa: BLE001 - the mistake itself
                context.warn("one item is missing")


class LeavesThreads(Good):
    """One that goes on after its window."""

    breaks = {"no_thread_is_left": "left 1 threads, such as shop-prefetch"}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, items, context)
        threading.Thread(target=threading.Event().wait, args=(5,), name="shop-prefetch", daemon=True).start()


class LocksItself(Good):
    """A lock of its own, which a killed run never gives back."""

    breaks = {CRASHED: "keep nothing in variables of the module", LOST: "share nothing between two runs"}
    busy = False

    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        if self.busy:
            return
        self.busy = True
        context.raise_if_cancelled()
        upsert(db, EVENT, rows(tenant_id, found(start_date, end_date)))
        self.busy = False


class WritesOutside(Good):
    """Counts its runs by a connection of its own."""

    breaks = {
        AGAIN: "lacks 1 rows",
        HALF_OPEN: "other rows than one",
        ANY_ORDER: "other rows than one",
        CANCELLED: "write through db only",
        CRASHED: "write through db only",
        LOST: "share nothing between two runs",
    }

    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        path = context.read("SELECT file FROM pragma_database_list")[0].file
        context.raise_if_cancelled()
        outside = sqlite3.connect(path, isolation_level=None)
        counted = (
            "INSERT INTO shop_event VALUES (?, 'runs', NULL, '.', NULL) ON CONFLICT DO UPDATE SET note = note || '.'"
        )
        outside.execute(counted, [tenant_id])
        outside.close()
        upsert(db, EVENT, rows(tenant_id, found(start_date, end_date)))


class SkipsAhead(Good):
    """Says that a page is there before it is: a killed run is continued behind it."""

    breaks = dict.fromkeys((CRASHED, LOST), "write the rows before you set the context.resume")

    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        items = found(start_date, end_date)
        for page in range(context.resume or 0, len(items), 3):
            context.raise_if_cancelled()
            context.resume = page + 3
            context.checkpoint()
            upsert(db, EVENT, rows(tenant_id, items[page : page + 3]))


globals().update(suites(globals()))
