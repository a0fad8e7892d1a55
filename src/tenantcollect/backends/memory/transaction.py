"""The transaction of a window that can write no rows (floor: backends)."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from attrs import define, evolve

from tenantcollect.backends.memory.tables import Store, stored
from tenantcollect.errors import ConfigurationError
from tenantcollect.state import Claim, KeyState, Resume, Seal, Status

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["MemoryTransaction"]


@define
class MemoryTransaction:
    """The transaction of a window that can write no rows: only its seal means anything."""

    claim: Claim
    _store: Store
    _crash: Callable[[str], object]

    def session(self) -> "Session":
        raise ConfigurationError("the memory backend has no database, so a collector cannot use db; use SQLite")

    def read(self, statement: Any) -> NoReturn:
        raise ConfigurationError(f"the memory backend has no database to read from: {type(statement).__name__}")

    def translate(self, error: BaseException) -> BaseException:
        return error

    def vouches(self, error: BaseException) -> bool:  # noqa: ARG002 - there is no database that could fail
        return False

    def seal(self, seal: Seal) -> Claim | None:
        with self._store.lock:
            row = self._store.claimed(self.claim)
            self._crash("before_commit")
            ended = self._store.end(
                self.claim,
                Status.COMPLETED,
                window=seal.window,
                records=seal.records,
                warnings=seal.warnings,
            )
            row.state = _sealed(row.state, self.claim, seal, ended)
            row.opened = evolve(seal.next, started_at=self._store.clock()) if seal.next else None
        self._crash("after_commit")
        self.claim = row.opened or self.claim
        return row.opened

    def checkpoint(self, resume: Resume) -> Claim:
        with self._store.lock:
            row = self._store.claimed(self.claim)
            self._crash("before_commit")
            moved = evolve(self.claim, window_seq=self.claim.window_seq + 1)
            resume = evolve(resume, value=stored(resume.value))
            row.state = evolve(row.state, resume=resume, window_seq=moved.window_seq)
            row.opened = moved
        self._crash("after_commit")
        self.claim = moved
        return moved

    def abandon(self) -> None:
        """There is nothing to roll back."""


def _sealed(state: KeyState, claim: Claim, seal: Seal, now: datetime) -> KeyState:
    return evolve(
        state,
        coverage=seal.coverage,
        last_fetched_data_date=seal.last_fetched_data_date,
        cursor=stored(seal.cursor[0]) if seal.cursor else state.cursor,
        resume=None,
        window_seq=state.window_seq + 1,
        status=Status.COMPLETED,
        started_at=claim.started_at,
        completed_at=now,
        reason=None,
        error=None,
        failures=0,
        first_failure_at=None,
        retry_at=None,
        window_limit=seal.window_limit,
        last_record_at=seal.last_record_at or state.last_record_at,
    )
