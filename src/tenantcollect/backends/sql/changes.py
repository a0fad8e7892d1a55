"""What may happen to the state row of an open window, all or nothing (floor: backends; PROTOCOL P3, P6, P8).

Order of locks: state, guard, history.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

from attrs import frozen
from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Insert,
    Row,
    Table,
    Update,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.sql.expression import FromClause

from tenantcollect.backends.sql.columns import KEY, LARGEST, dumped
from tenantcollect.backends.sql.dialect import Dialect, Step
from tenantcollect.backends.sql.expressions import Clock, is_key, one_more, same_key
from tenantcollect.backends.sql.schema import Tables
from tenantcollect.keys import Key
from tenantcollect.state import Claim, Failure, Resume, Seal, Status
from tenantcollect.windows import Window

__all__ = [
    "AS_NEW",
    "NOT_OPEN",
    "OPEN_WINDOW",
    "Change",
    "abandoned",
    "checkpointed",
    "closed",
    "held",
    "next_step",
    "replayed",
    "sealed",
]

NOT_OPEN: Mapping[str, Any] = {
    "open_window_id": None,
    "open_start": None,
    "open_end": None,
    "open_owner": None,
    "open_attempt": None,
    "opened_at": None,
}
FORGOTTEN: Mapping[str, Any] = {
    "failures": 0,
    "first_failure_at": None,
    "retry_at": None,
    "reason": None,
    "error": None,
}
AS_NEW: Mapping[str, Any] = {
    **FORGOTTEN,
    "status": Status.PENDING.value,
    "started_at": None,
    "completed_at": None,
    "cursor": None,
    "window_limit": None,
    "last_record_at": None,
}
STEP = ("fence", "window_seq")
OPEN_WINDOW = ("fence", *NOT_OPEN)


@frozen(kw_only=True)
class Change:
    """New values of the state row of ``claim``, and the history row that goes with them."""

    claim: Claim
    values: Mapping[str, Any]
    attempt: Mapping[str, Any] | None = None

    def apply(
        self, connection: Connection, dialect: Dialect, tables: Tables, *, guarded: bool
    ) -> Row[tuple[datetime | None]] | None:
        """Do it if the claim still holds, and tell ``opened_at``; with ``guarded``, only in the transaction that
        the window began in.
        """
        move = self._move(tables, guarded)
        if self.attempt is None and not guarded:
            return next(iter(dialect.together(connection, [move])), None)
        moved = dialect.materialized(connection, move, "moved")
        opened_at = select(moved.c.opened_at).correlate(None).scalar_subquery().label("opened_at")
        steps: list[Step] = []
        if self.attempt is not None:
            steps.append(self._history(tables.history, moved).returning(opened_at))
        if guarded:
            steps.append(self._unguard(tables.guard, moved).returning(opened_at))
        return next(iter(dialect.together(connection, steps)), None)

    def _move(self, tables: Tables, guarded: bool) -> Update:
        """Compare and set: whoever opened, sealed or revised the key since leaves no row to change."""
        run, claim = tables.run, self.claim
        holds = held(run, claim)
        if guarded:
            holds = and_(holds, exists().where(tables.guard.c.window_id == claim.window_id))
        return update(run).where(holds).values(dict(self.values)).returning(run.c.opened_at)

    def _history(self, history: Table, moved: FromClause) -> Insert:
        """The attempt, exactly as it ended."""
        values = {**_told(self.claim), **(self.attempt or {})}
        given = [_literal(history, name, value) for name, value in values.items()]
        row = select(*given).select_from(moved)
        return insert(history).from_select([*values], row)

    def _unguard(self, guard: Table, moved: FromClause) -> Delete:
        """From here on the server lets the transaction commit."""
        here = and_(guard.c.window_id == self.claim.window_id, exists().select_from(moved))
        return delete(guard).where(here)


def held(run: Table, claim: Claim) -> ColumnElement[bool]:
    """Whether the state row is still as the holder of ``claim`` knows it (PROTOCOL 2.1, 2.2)."""
    return and_(
        is_key(run, claim.key),
        run.c.fence == claim.fence,
        run.c.holder == claim.token,
        run.c.window_seq == claim.window_seq,
        run.c.open_window_id == claim.window_id,
    )


def sealed(claim: Claim, seal: Seal) -> Change:
    """Coverage, cursor and history of a window that was collected; the next window opens with it."""
    values = {
        **FORGOTTEN,
        **_opened(seal.next),
        "coverage": dumped(seal.coverage.to_json()),
        "last_fetched_data_date": seal.last_fetched_data_date,
        "resume": None,
        "window_seq": claim.window_seq + 1,
        "status": Status.COMPLETED.value,
        "started_at": claim.started_at,
        "completed_at": Clock(),
        "window_limit": seal.window_limit,
    }
    if seal.cursor is not None:
        values["cursor"] = seal.cursor[0]
    if seal.last_record_at is not None:
        values["last_record_at"] = seal.last_record_at
    attempt = {
        **_bounds(seal.window),
        "status": Status.COMPLETED.value,
        "records": seal.records,
        "warnings": list(seal.warnings) or None,
    }
    return Change(claim=claim, values=values, attempt=attempt)


def _opened(claim: Claim | None) -> Mapping[str, Any]:
    if claim is None:
        return NOT_OPEN
    return {
        "open_window_id": claim.window_id,
        "open_start": claim.window.start,
        "open_end": claim.window.end,
        "open_owner": claim.owner,
        "open_attempt": claim.attempt,
        "opened_at": Clock(),
    }


def checkpointed(claim: Claim, resume: Resume) -> Change:
    """The resume point of a window that stays open. The step counts: a lost reply cannot double the rows."""
    point = {"start": resume.window.start.isoformat(), "end": resume.window.end.isoformat(), "value": resume.value}
    return Change(claim=claim, values={"resume": point, "window_seq": claim.window_seq + 1})


def closed(claim: Claim, failure: Failure | None) -> Change:
    """The end of a window that did not seal; without ``failure`` it never ran."""
    if failure is None:
        return Change(claim=claim, values=NOT_OPEN)
    values = {
        **_opened(failure.next),
        "window_seq": claim.window_seq + 1,
        "started_at": claim.started_at,
        "completed_at": Clock(),
        "reason": failure.reason,
        "error": failure.error,
        "failures": failure.failures,
        "first_failure_at": failure.first_failure_at,
        "retry_at": failure.retry_at,
        "window_limit": failure.window_limit,
    }
    if failure.failed:
        values["status"] = Status.FAILED.value
    attempt = {
        "status": Status.FAILED.value,
        "reason": failure.reason,
        "error": failure.error,
        "warnings": list(failure.warnings) or None,
    }
    return Change(claim=claim, values=values, attempt=attempt)


def abandoned(dialect: Dialect, history: Table, left: FromClause) -> Insert:
    """The history rows of windows that their holders neither sealed nor failed; ``left`` has their state (G8).

    An open window of which a part is missing is none, and of one that has its row there is nothing left to tell.
    """
    values = {
        "window_id": left.c.open_window_id,
        **{part: left.c[part] for part in KEY},
        "window_seq": left.c.window_seq,
        "fence": left.c.fence,
        "worker": left.c.open_owner,
        "attempt": left.c.open_attempt,
        "window_start": left.c.open_start,
        "window_end": left.c.open_end,
        "started_at": left.c.opened_at,
        "completed_at": Clock(),
        "status": _literal(history, "status", Status.ABANDONED.value),
    }
    whole = and_(left.c.open_start < left.c.open_end, *(left.c[name].is_not(None) for name in (*STEP, *NOT_OPEN)))
    row = select(*(value.label(name) for name, value in values.items())).where(whole)
    told: Insert = dialect.insert(history).from_select([*values], row).on_conflict_do_nothing()
    return told


def next_step(run: Table, history: Table) -> ColumnElement[int]:
    """The step after the key's own and after every one that was ever sealed: no row of history is met again, also
    where the state is older than its history, as after a restore.
    """
    done = and_(history.c.status == literal_column("'COMPLETED'"), history.c.window_seq.between(0, LARGEST // 2))
    newest = select(func.max(history.c.window_seq)).where(same_key(history, run), done).correlate(run)
    sealed, own = one_more(newest.scalar_subquery()), one_more(run.c.window_seq)
    return case((sealed > own, sealed), else_=own)


def replayed(key: Key, window: Window, revised: Row[Any]) -> dict[str, Any]:
    """The history row of a replay, which nobody ever held; ``revised`` has the key's new fence and step."""
    return {
        "window_id": uuid4().hex,
        **{part: getattr(key, part) for part in KEY},
        "window_seq": revised.window_seq,
        "fence": revised.fence,
        "worker": "",
        "attempt": 0,
        **_bounds(window),
        "started_at": Clock(),
        "completed_at": Clock(),
        "status": Status.REPLAYED.value,
    }


def _told(claim: Claim) -> dict[str, Any]:
    """What a history row repeats of its claim."""
    return {
        "window_id": claim.window_id,
        **{part: getattr(claim.key, part) for part in KEY},
        "window_seq": claim.window_seq,
        "fence": claim.fence,
        "worker": claim.owner,
        "attempt": claim.attempt,
        **_bounds(claim.window),
        "started_at": claim.started_at,
        "completed_at": Clock(),
    }


def _bounds(window: Window) -> dict[str, Any]:
    return {"window_start": window.start, "window_end": window.end}


def _literal(table: Table, name: str, value: Any) -> ColumnElement[Any]:
    return value if isinstance(value, ColumnElement) else literal(value, table.c[name].type)
