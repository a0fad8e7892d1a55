"""When to look at a key again, and the reasons not to run it (floor: backends; PROTOCOL P1, P9, P10).

Order of locks: rows of the lease table, in the order of keys.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    Text,
    and_,
    case,
    delete,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    update,
)

from tenantcollect.backends.sql.columns import KEY
from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.expressions import (
    KEY_COLUMNS,
    among,
    counted,
    is_key,
    key_of,
    key_rows,
    one_more,
    rows,
    same_key,
    scope_of,
)
from tenantcollect.backends.sql.locks import busy
from tenantcollect.keys import Key, Selection
from tenantcollect.schedule import Entry, Hold
from tenantcollect.secrets import storable

__all__ = ["SqlHolds", "SqlSchedule", "selected"]

PARTS = ("tenant_ids", "data_sources", "scripts")
NEVER = timedelta(days=400)
"""Who is to be looked at only then is parked, as somebody by hand; no interval is as long."""


def selected(connection: Connection, table: Table, selection: Selection) -> ColumnElement[bool]:
    """Whether a row's key is among those selected."""
    chosen = ((table.c[part], getattr(selection, names)) for part, names in zip(KEY, PARTS, strict=True))
    return and_(true(), *(among(connection, column, names) for column, names in chosen if names is not None))


class SqlSchedule:
    """A :class:`~tenantcollect.schedule.Schedule` in ``data_source_lease``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, selection: Selection, *, now: datetime, limit: int) -> list[Entry]:
        """P1: one read by the index of ``next_due_at``, each tenant's first before any one's second."""
        lease = self._database.tables.lease
        with self._database.reading() as connection:
            leased = busy(lease).label("busy")
            order = (lease.c.next_due_at, *(lease.c[part] for part in KEY))
            turn = func.row_number().over(partition_by=(lease.c.tenant_id, leased.element), order_by=order)
            due = (
                select(*_columns(lease), leased, turn.label("turn"))
                .where(lease.c.next_due_at <= now, selected(connection, lease, selection))
                .subquery("due")
            )
            in_turn = select(due).order_by(due.c.busy, due.c.turn, due.c.next_due_at, *(due.c[part] for part in KEY))
            return self._first(connection, in_turn, limit)

    def _first(self, connection: Connection, in_turn: Select[Any], limit: int) -> list[Entry]:
        """The first ``limit`` entries: rows that are left out take nobody's place."""
        asked = limit
        while True:
            # Literal: with a parameter the statement would be planned anew each time.
            found = connection.execute(in_turn.limit(literal_column(str(int(asked))))).all()
            entries = self._database.unread.sift(self._database.tables.lease, found, _entry)
            if len(entries) >= limit or len(found) < asked:
                return entries[:limit]
            asked *= 2

    def defer(self, seen: Entry, until: datetime | None, *, waiting: bool = False, fence: int | None = None) -> None:
        """P9: compare and set, by the version and by the fence, which any lock backend has; no row is locked for it."""
        lease, run = self._database.tables.lease, self._database.tables.run
        unmoved = and_(is_key(lease, seen.key), counted(lease.c.version) == seen.version)
        if fence is not None:
            unmoved = and_(unmoved, exists().where(is_key(run, seen.key), run.c.fence == fence))
        values = {"next_due_at": until, "waiting": waiting, "triggered": False, "progress": None}
        with self._database.hinting() as connection:
            connection.execute(update(lease).where(unmoved).values(values))

    def wake(self, keys: Collection[Key], *, at: datetime, every: bool = False) -> None:
        """P10: a hint after a commit; it locks no row of the state, so it can fail no window."""
        if not keys:
            return
        lease = self._database.tables.lease
        which = true() if every else lease.c.waiting
        with self._database.hinting() as connection:
            asked = key_rows(connection, keys)
            sleeping = _keys(lease).join(asked, same_key(lease, asked)).where(which)
            self._make_due(connection, sleeping, at)

    def trigger(self, keys: Collection[Key], *, at: datetime) -> None:
        if not keys:
            return
        lease = self._database.tables.lease
        with self._database.hinting() as connection:
            asked = key_rows(connection, keys)
            self._make_due(
                connection, _keys(lease).join(asked, same_key(lease, asked)), at, next_due_at=at, triggered=True
            )

    def unpark(self, selection: Selection, *, at: datetime) -> None:
        lease = self._database.tables.lease
        with self._database.hinting() as connection:
            asleep = or_(lease.c.waiting, lease.c.next_due_at.is_(None), lease.c.next_due_at > at + NEVER)
            sleeping = _keys(lease).where(asleep, selected(connection, lease, selection))
            self._make_due(connection, sleeping, at)

    def _make_due(self, connection: Connection, which: Select[Any], at: datetime, **also: Any) -> None:
        lease = self._database.tables.lease
        locked = which.order_by(*(lease.c[part] for part in KEY)).with_for_update(of=lease)
        found = self._database.dialect.materialized(connection, locked, "sleeping")
        # Who is due already keeps its place among those who wait for a slot.
        sooner = case((lease.c.next_due_at < at, lease.c.next_due_at), else_=literal(at, lease.c.next_due_at.type))
        moved = {"next_due_at": sooner, "version": one_more(lease.c.version), **also}
        connection.execute(update(lease).where(same_key(lease, found)).values(moved))

    def report(self, progress: Mapping[Key, str]) -> None:
        if not progress:
            return
        lease = self._database.tables.lease
        with self._database.hinting() as connection:
            told = (
                {**{part: getattr(key, part) for part in KEY}, "line": storable(line)} for key, line in progress.items()
            )
            lines = rows(connection, "told", {**KEY_COLUMNS, "line": Text()}, told)
            locked = (
                select(*(lease.c[part] for part in KEY), lines.c.line)
                .join(lines, same_key(lease, lines))
                .order_by(*(lease.c[part] for part in KEY))
                .with_for_update(of=lease)
            )
            found = self._database.dialect.materialized(connection, locked, "running")
            connection.execute(update(lease).where(same_key(lease, found)).values(progress=found.c.line))

    def entries(self, keys: Collection[Key]) -> Mapping[Key, Entry]:
        if not keys:
            return {}
        lease = self._database.tables.lease
        with self._database.reading() as connection:
            asked = key_rows(connection, keys)
            found = select(*_columns(lease), busy(lease).label("busy")).join(asked, same_key(lease, asked))
            return {key_of(row): _entry(row) for row in connection.execute(found)}


def _keys(lease: Table) -> Select[Any]:
    return select(*(lease.c[part] for part in KEY))


def _columns(lease: Table) -> list[ColumnElement[Any]]:
    return [lease.c[name] for name in (*KEY, "next_due_at", "waiting", "triggered", "progress", "version")]


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        key=key_of(row),
        next_due_at=row.next_due_at,
        waiting=row.waiting,
        triggered=row.triggered,
        progress=row.progress,
        version=row.version or 0,
        busy=bool(row.busy),
    )


class SqlHolds:
    """A :class:`~tenantcollect.schedule.Holds` in ``data_source_hold``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def place(self, hold: Hold) -> bool:
        table = self._database.tables.hold
        scope = {name: getattr(hold, name) for name in ("tenant_id", "data_source", "script", "reason")}
        told = {name: getattr(hold, name) for name in ("since", "until", "detail", "revision")}
        with self._database.writing() as connection:
            new = self._database.dialect.insert(table).values(**scope, **told).on_conflict_do_nothing()
            if connection.execute(new.returning(table.c.id)).one_or_none() is not None:
                return True
            same = and_(*(table.c[name].is_not_distinct_from(value) for name, value in scope.items()))
            connection.execute(update(table).where(same).values(**told))
            return False

    def lift(self, selection: Selection, reasons: Collection[str]) -> list[Hold]:
        table = self._database.tables.hold
        with self._database.single() as connection:
            which = and_(selected(connection, table, selection), among(connection, table.c.reason, reasons))
            gone = connection.execute(delete(table).where(which).returning(table))
            return self._database.unread.sift(table, gone, _hold)

    def end(self, hold: Hold) -> bool:
        table = self._database.tables.hold
        names = ("tenant_id", "data_source", "script", "reason", "since", "until", "detail", "revision")
        same = and_(*(table.c[name].is_not_distinct_from(getattr(hold, name)) for name in names))
        with self._database.single() as connection:
            return connection.execute(delete(table).where(same).returning(table.c.id)).one_or_none() is not None

    def held(self, tenant_ids: Collection[str] | None = None) -> list[Hold]:
        table = self._database.tables.hold
        with self._database.reading() as connection:
            chosen = selected(connection, table, Selection(tenant_ids))
            found = connection.execute(select(table).where(chosen).order_by(table.c.id))
            return self._database.unread.sift(table, found, _hold)


def _hold(row: Row[Any]) -> Hold:
    tenant_id, data_source, script = scope_of(row)
    return Hold(
        tenant_id=tenant_id,
        data_source=data_source,
        script=script,
        reason=row.reason or "",
        since=row.since,
        until=row.until,
        detail=row.detail or "",
        revision=row.revision,
    )
