"""State rows, attempts and what may be done to them (floor: backends)."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from uuid import uuid4

from attrs import evolve, frozen

from tenantcollect.backends.memory.schedule import MemoryHolds, MemorySchedule
from tenantcollect.backends.memory.tables import Row, Store, stored
from tenantcollect.backends.memory.transaction import MemoryTransaction
from tenantcollect.keys import Key, Selection
from tenantcollect.schedule import Entry
from tenantcollect.state import (
    Change,
    Claim,
    Failure,
    HistoryRow,
    KeyState,
    NewKey,
    Opening,
    Revision,
    Status,
)
from tenantcollect.windows import Window, utc

__all__ = ["MemoryState"]


@frozen
class MemoryState:
    """State rows, schedule, holds and history."""

    _store: Store
    schedule: MemorySchedule
    holds: MemoryHolds
    _crash: Callable[[str], object]

    def now(self) -> datetime:
        return self._store.clock()

    def ensure(self, keys: Iterable[NewKey], *, due_at: datetime) -> int:
        due_at = utc(due_at)
        with self._store.lock:
            wanted = {new.key: new for new in keys}
            missing = wanted.keys() - self._store.rows.keys()
            for key, new in wanted.items():
                self._store.rows.setdefault(key, Row(KeyState(key=key, history_start=new.history_start)))
                self._store.entries.setdefault(key, Entry(key=key, next_due_at=due_at))
            return len(missing)

    def load(self, which: Selection | Collection[Key]) -> Iterator[KeyState]:
        with self._store.lock:
            chosen = which.matches if isinstance(which, Selection) else set(which).__contains__
            found = [self._read(key) for key in sorted(self._store.rows) if chosen(key)]
        yield from found

    def _read(self, key: Key) -> KeyState:
        row = self._store.rows[key]
        opened = row.opened
        return evolve(
            row.state,
            cursor=stored(row.state.cursor),
            open_window=opened.window if opened else None,
            opened_at=opened.started_at if opened else None,
        )

    def open(self, openings: Sequence[Opening]) -> list[Claim]:
        with self._store.lock:
            claims = [claim for opening in openings if (claim := self._open(opening))]
        self._crash("after_open")
        return claims

    def _open(self, opening: Opening) -> Claim | None:
        row = self._store.rows.get(opening.key)
        if row is None or row.state.window_seq != opening.window_seq:
            return None
        self._store.abandon(row)
        row.state = evolve(row.state, fence=row.state.fence + 1)
        row.holder = opening.token
        row.opened = Claim(
            key=opening.key,
            token=opening.token,
            owner=opening.owner,
            fence=row.state.fence,
            window_seq=opening.window_seq,
            window_id=opening.window_id,
            window=opening.window,
            attempt=opening.attempt,
            started_at=self._store.clock(),
        )
        return row.opened

    def transaction(self, claim: Claim) -> MemoryTransaction:
        return MemoryTransaction(claim, self._store, self._crash)

    def close(self, claim: Claim, failure: Failure | None = None) -> Claim | None:
        with self._store.lock:
            row = self._store.claimed(claim)
            row.opened = None
            if failure is None:
                return None
            ended = self._store.end(
                claim,
                Status.FAILED,
                reason=failure.reason,
                error=failure.error,
                warnings=failure.warnings,
            )
            row.state = _failed(row.state, claim, failure, ended)
            row.opened = evolve(failure.next, started_at=ended) if failure.next else None
            return row.opened

    def outcome(self, claim: Claim) -> bool:
        with self._store.lock:
            return any(
                past.window_id == claim.window_id and past.status is Status.COMPLETED
                for past in reversed(self._store.history)
            )

    def standing(self, claim: Claim) -> Claim | None:
        with self._store.lock:
            row = self._store.rows.get(claim.key)
            return row.opened if row and (row.state.fence, row.holder) == (claim.fence, claim.token) else None

    def revise(self, keys: Collection[Key], change: Change) -> set[Key]:
        with self._store.lock:
            known = [key for key in sorted(set(keys)) if key in self._store.rows]
            revisions = {key: revision for key in known if (revision := change(self._read(key))) is not None}
            for key, revision in revisions.items():
                self._revise(self._store.rows[key], revision)
            return set(revisions)

    def _revise(self, row: Row, revision: Revision) -> None:
        self._store.abandon(row)
        row.holder = None
        row.state = _revised(row.state, revision)
        if revision.replayed:
            self._store.end(_replay(row.state, revision.replayed, self._store.clock()), Status.REPLAYED)

    def history(self, selection: Selection, *, limit: int, before: datetime | None = None) -> Iterator[HistoryRow]:
        before = None if before is None else utc(before)
        with self._store.lock:
            oldest_first = sorted(self._store.history, key=lambda row: row.completed_at)
        chosen = (row for row in reversed(oldest_first) if selection.matches(row.key))
        yield from islice((row for row in chosen if before is None or row.completed_at < before), limit)

    def latest(self, keys: Collection[Key]) -> Mapping[Key, HistoryRow]:
        with self._store.lock:
            oldest_first = sorted(self._store.history, key=lambda row: row.completed_at)
        return {row.key: row for row in oldest_first if row.key in keys}


def _revised(state: KeyState, revision: Revision) -> KeyState:
    if revision.forget:
        state = KeyState(
            key=state.key,
            history_start=state.history_start,
            coverage=state.coverage,
            last_fetched_data_date=state.last_fetched_data_date,
            fence=state.fence,
            window_seq=state.window_seq,
        )
    if revision.coverage is not None:
        state = evolve(
            state,
            coverage=revision.coverage,
            last_fetched_data_date=revision.last_fetched_data_date,
        )
    return evolve(
        state,
        history_start=revision.history_start or state.history_start,
        resume=None if revision.restart or revision.forget else state.resume,
        fence=state.fence + 1,
        window_seq=state.window_seq + 1,
    )


def _replay(state: KeyState, window: Window, now: datetime) -> Claim:
    """The attempt that a replay is recorded as; nobody ever held it."""
    return Claim(
        key=state.key,
        token="",
        owner="",
        fence=state.fence,
        window_seq=state.window_seq,
        window_id=uuid4().hex,
        window=window,
        attempt=0,
        started_at=now,
    )


def _failed(state: KeyState, claim: Claim, failure: Failure, now: datetime) -> KeyState:
    return evolve(
        state,
        window_seq=claim.window_seq + 1,
        status=Status.FAILED if failure.failed else state.status,
        started_at=claim.started_at,
        completed_at=now,
        reason=failure.reason,
        error=failure.error,
        failures=failure.failures,
        first_failure_at=failure.first_failure_at,
        retry_at=failure.retry_at,
        window_limit=failure.window_limit,
    )
