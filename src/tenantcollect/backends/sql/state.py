"""State rows, attempts, and who may seal (floor: backends; PROTOCOL P0, P3, P7, P8).

Order of locks: lease, state, guard, history; rows in the order of keys.
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from attrs import evolve
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    Text,
    and_,
    insert,
    literal,
    literal_column,
    select,
    true,
    tuple_,
    update,
)

from tenantcollect.backends.sql.attempts import SqlAttempts
from tenantcollect.backends.sql.changes import AS_NEW, NOT_OPEN, OPEN_WINDOW, abandoned, closed, next_step, replayed
from tenantcollect.backends.sql.columns import KEY, Instant, dumped
from tenantcollect.backends.sql.dialect import Terms
from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.expressions import (
    KEY_COLUMNS,
    Clock,
    is_key,
    kept,
    key_of,
    key_rows,
    one_more,
    rows,
    same_key,
)
from tenantcollect.backends.sql.readings import state_of
from tenantcollect.backends.sql.schedule import SqlHolds, SqlSchedule, selected
from tenantcollect.backends.sql.schema import Tables
from tenantcollect.backends.sql.transaction import SqlTransaction
from tenantcollect.errors import LeaseLost, OutcomeUnknown, Overloaded, StorageError
from tenantcollect.keys import Key, Selection
from tenantcollect.schedule import Holds, Schedule
from tenantcollect.state import Change, Claim, Failure, HistoryRow, KeyState, NewKey, Opening, Revision, Status
from tenantcollect.windows import Window, utc

__all__ = ["SqlState"]

logger = logging.getLogger("tenantcollect.backends.sql")

PAGE = 500
WAIT_FOR_DOUBT = timedelta(seconds=30)
MOMENT = timedelta(seconds=5)
"""How long a command waits for holders that commit: they take milliseconds, unless one stalls."""
OPENINGS = {
    **KEY_COLUMNS,
    "token": Text(),
    "owner": Text(),
    "window_seq": BigInteger(),
    "window_id": Text(),
    "window_start": Instant(),
    "window_end": Instant(),
    "attempt": BigInteger(),
}


class SqlState:
    """A :class:`~tenantcollect.state.State` on SQLite or PostgreSQL."""

    def __init__(self, database: Database, terms: Terms, *, evict: bool = True) -> None:
        self._database = database
        self._terms = terms
        self._evict = evict
        self._attempts = SqlAttempts(database)
        self.schedule: Schedule = SqlSchedule(database)
        self.holds: Holds = SqlHolds(database)

    def now(self) -> datetime:
        with self._database.reading() as connection:
            found: datetime = connection.scalar(select(Clock()))
            return found

    def ensure(self, keys: Iterable[NewKey], *, due_at: datetime) -> int:
        # The tables are asked for before a connection is taken: a host's pool may have only one.
        tables, wanted = self._database.known_tables(), iter(sorted(keys, key=lambda new: new.key))
        made = 0
        while page := list(islice(wanted, PAGE)):
            with self._database.writing(patient=True) as connection:
                made += self._make(connection, tables, page, utc(due_at, "due_at"))
        return made

    def _make(self, connection: Connection, tables: Tables, page: Sequence[NewKey], due_at: datetime) -> int:
        """Set-based: the schedule first, as locks are ordered; a row that is there is left as it is."""
        insert_new = self._database.dialect.insert
        plain = ({**_parts(new.key), "history_start": new.history_start} for new in page)
        asked = rows(connection, "asked", {**KEY_COLUMNS, "history_start": Instant()}, plain)
        parts = [asked.c[part] for part in KEY]
        due = select(*parts, literal(due_at, Instant())).where(true()).order_by(*parts)
        lease = insert_new(tables.lease).from_select([*KEY, "next_due_at"], due)
        connection.execute(lease.on_conflict_do_nothing())
        start = select(*parts, asked.c.history_start).where(true()).order_by(*parts)
        run = insert_new(tables.run).from_select([*KEY, "history_start"], start)
        return len(connection.execute(run.on_conflict_do_nothing().returning(tables.run.c.id)).all())

    def load(self, which: Selection | Collection[Key]) -> Iterator[KeyState]:
        pages = self._selected(which) if isinstance(which, Selection) else self._named(which)
        for page in pages:
            yield from page

    def _named(self, keys: Collection[Key]) -> Iterator[list[KeyState]]:
        run, wanted = self._database.known_tables().run, iter(sorted(set(keys)))
        while page := list(islice(wanted, PAGE)):
            with self._database.reading() as connection:
                asked = key_rows(connection, page)
                found = self._states().join(asked, same_key(run, asked))
                states = [state_of(row) for row in connection.execute(found)]
            yield states

    def _selected(self, selection: Selection) -> Iterator[list[KeyState]]:
        """Page by page, each a read of its own: no transaction stays open while the caller thinks."""
        run, sift = self._database.known_tables().run, self._database.unread.sift
        last: Row[Any] | None = None
        while True:
            with self._database.reading() as connection:
                chosen = self._states().where(selected(connection, run, selection))
                if last is not None:
                    chosen = chosen.where(tuple_(*_key_columns(run)) > tuple_(*(getattr(last, part) for part in KEY)))
                found = connection.execute(chosen.limit(literal_column(str(PAGE)))).all()
            if not found:
                return
            yield sift(run, found, state_of)
            last = found[-1]

    def _states(self) -> Select[Any]:
        run = self._database.known_tables().run
        return select(run).order_by(*_key_columns(run))

    def open(self, openings: Sequence[Opening]) -> list[Claim]:
        if not openings:
            return []
        self._evict_former([opening.previous for opening in openings if opening.previous])
        opened = {key_of(row): row for row in self._open(openings)}
        self._terms.crash("after_open")
        return [_claim(each, row) for each in openings if (row := opened.get(each.key))]

    def _evict_former(self, tokens: Sequence[str]) -> None:
        """Best effort: whoever must not go on is dead by the fence, and only holds up the next one."""
        if not tokens or not self._evict:
            return
        try:
            with self._database.single() as connection:
                self._database.dialect.evict(connection, tokens)
        except StorageError as error:
            logger.debug("a former holder could not be evicted: %s", error)

    def _open(self, openings: Sequence[Opening]) -> Sequence[Row[Any]]:
        """From here on every earlier holder is dead: fence and holder are new, and the open window is ours."""
        run, history = self._database.known_tables().run, self._database.known_tables().history
        dialect = self._database.dialect
        with self._database.single(patient=True) as connection:
            asked = rows(connection, "asked", OPENINGS, map(_asked, openings))
            mine = (
                select(run.c.id, *_key_columns(run), run.c.window_seq, *(run.c[name] for name in OPEN_WINDOW))
                .add_columns(*(asked.c[name].label(f"new_{name}") for name in OPENINGS if name not in KEY))
                .join(asked, and_(same_key(run, asked), run.c.window_seq == asked.c.window_seq))
                .order_by(*_key_columns(run))
                .with_for_update(of=run)
            )
            found = dialect.materialized(connection, mine, "found")
            opened = (
                update(run)
                .where(run.c.id == found.c.id)
                .values(
                    fence=one_more(run.c.fence),
                    holder=found.c.new_token,
                    open_window_id=found.c.new_window_id,
                    open_start=found.c.new_window_start,
                    open_end=found.c.new_window_end,
                    open_owner=found.c.new_owner,
                    open_attempt=found.c.new_attempt,
                    opened_at=Clock(),
                )
                .returning(*_key_columns(run), run.c.fence, run.c.opened_at)
            )
            return dialect.together(connection, [abandoned(dialect, history, found), opened])

    def transaction(self, claim: Claim) -> SqlTransaction:
        return SqlTransaction(claim, self._database, self._terms)

    def close(self, claim: Claim, failure: Failure | None = None) -> Claim | None:
        database = self._database
        with database.single(patient=True) as connection:
            done = closed(claim, failure).apply(connection, database.dialect, database.tables, guarded=False)
        if done is None:
            raise LeaseLost
        return evolve(failure.next, started_at=done.opened_at) if failure and failure.next else None

    def outcome(self, claim: Claim) -> bool:
        """P7, two statements: locking the state row waits for what is in doubt; only then history is asked."""
        history = self._database.known_tables().history
        committed = select(history.c.window_id).where(
            history.c.window_id == claim.window_id, history.c.status == Status.COMPLETED.value
        )
        with self._undoubted(claim) as (connection, _):
            return connection.scalar(committed) is not None

    def standing(self, claim: Claim) -> Claim | None:
        """Who asks works under the claim no more; what a killed process left at work on the server is ended."""
        self._evict_former([claim.token])
        with self._undoubted(claim) as (_, row):
            if row is None or (row.fence, row.holder) != (claim.fence, claim.token):
                return None
            if any(getattr(row, name) is None for name in NOT_OPEN) or row.open_start >= row.open_end:
                return None
            return evolve(
                claim,
                window_seq=row.window_seq,
                window_id=row.open_window_id,
                window=Window(row.open_start, row.open_end),
                attempt=row.open_attempt,
                started_at=row.opened_at,
            )

    @contextmanager
    def _undoubted(self, claim: Claim) -> Iterator[tuple[Connection, Row[Any] | None]]:
        """The state row, locked: whatever was being committed to it has happened, or never will."""
        run = self._database.known_tables().run
        row = select(run).where(is_key(run, claim.key)).with_for_update()
        try:
            with self._database.writing(patient=True) as connection:
                self._database.dialect.hurry(connection, WAIT_FOR_DOUBT)
                yield connection, connection.execute(row).one_or_none()
        except Overloaded as error:
            raise OutcomeUnknown(f"{OutcomeUnknown()} ({error})") from None

    def revise(self, keys: Collection[Key], change: Change) -> set[Key]:
        """A command raises the fences as opening does, so no holder goes on with an old plan (PROTOCOL 2.11). While it
        waits for one that stalls it keeps all other keys waiting: such a holder is evicted, as by who takes over.
        """
        try:
            return self._revised(keys, change, within=MOMENT)
        except Overloaded:
            self._evict_former(self._holders(keys))
            return self._revised(keys, change, within=WAIT_FOR_DOUBT)

    def _holders(self, keys: Collection[Key]) -> list[str]:
        """The tokens of who has a window open."""
        run = self._database.known_tables().run
        with self._database.reading() as connection:
            asked = key_rows(connection, sorted(set(keys)))
            holding = select(run.c.holder).join(asked, same_key(run, asked))
            return list(connection.scalars(holding.where(run.c.holder.is_not(None), run.c.open_window_id.is_not(None))))

    def _revised(self, keys: Collection[Key], change: Change, *, within: timedelta) -> set[Key]:
        run, history = self._database.known_tables().run, self._database.known_tables().history
        with self._database.writing(patient=True) as connection:
            self._database.dialect.hurry(connection, within)
            asked = key_rows(connection, sorted(set(keys)))
            locked = self._states().join(asked, same_key(run, asked)).with_for_update(of=run)
            states = [state_of(row) for row in connection.execute(locked)]
            revisions = {state.key: revision for state in states if (revision := change(state)) is not None}
            ended = key_rows(connection, revisions, "ended")
            parts = (*_key_columns(run), run.c.window_seq, *(run.c[name] for name in OPEN_WINDOW))
            left = kept(connection, select(*parts).join(ended, same_key(run, ended)), "abandoned")
            connection.execute(abandoned(self._database.dialect, history, left))
            for key, revision in revisions.items():
                self._revise(connection, key, revision)
            return set(revisions)

    def _revise(self, connection: Connection, key: Key, revision: Revision) -> None:
        run, history = self._database.known_tables().run, self._database.known_tables().history
        change = update(run).where(is_key(run, key)).values(_new_values(run, history, revision))
        row = connection.execute(change.returning(run.c.fence, run.c.window_seq)).one()
        if revision.replayed is not None:
            connection.execute(insert(history).values(replayed(key, revision.replayed, row)))

    def history(self, selection: Selection, *, limit: int, before: datetime | None = None) -> Iterator[HistoryRow]:
        return self._attempts.newest(selection, limit=limit, before=before)

    def latest(self, keys: Collection[Key]) -> Mapping[Key, HistoryRow]:
        return self._attempts.latest(keys)


def _key_columns(table: Table) -> list[ColumnElement[Any]]:
    return [table.c[part] for part in KEY]


def _parts(key: Key) -> dict[str, str]:
    return {part: getattr(key, part) for part in KEY}


def _asked(opening: Opening) -> dict[str, Any]:
    return {
        **_parts(opening.key),
        "token": opening.token,
        "owner": opening.owner,
        "window_seq": opening.window_seq,
        "window_id": opening.window_id,
        "window_start": opening.window.start,
        "window_end": opening.window.end,
        "attempt": opening.attempt,
    }


def _claim(opening: Opening, row: Row[Any]) -> Claim:
    return Claim(
        key=opening.key,
        token=opening.token,
        owner=opening.owner,
        fence=row.fence,
        window_seq=opening.window_seq,
        window_id=opening.window_id,
        window=opening.window,
        attempt=opening.attempt,
        started_at=row.opened_at,
    )


def _new_values(run: Table, history: Table, revision: Revision) -> dict[str, Any]:
    values: dict[str, Any] = {
        **NOT_OPEN,
        "fence": one_more(run.c.fence),
        "window_seq": next_step(run, history),
        "holder": None,
    }
    if revision.restart or revision.forget:
        values["resume"] = None
    if revision.forget:
        values |= AS_NEW
    if revision.coverage is not None:
        values["coverage"] = dumped(revision.coverage.to_json())
        values["last_fetched_data_date"] = revision.last_fetched_data_date
    if revision.history_start is not None:
        values["history_start"] = revision.history_start
    return values
