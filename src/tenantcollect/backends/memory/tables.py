"""What the memory backend keeps, and the two questions that every part of it asks (floor: backends)."""

import json
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from threading import RLock
from typing import Any
from uuid import uuid4

from attrs import define, field, frozen

from tenantcollect.catalog import ConfigValue, Source
from tenantcollect.errors import ConfigurationError, LeaseLost
from tenantcollect.keys import Key
from tenantcollect.locks import Lease
from tenantcollect.schedule import Entry, Hold
from tenantcollect.state import JSON, Claim, HistoryRow, KeyState, Status
from tenantcollect.windows import Window

__all__ = ["Leased", "Row", "Store", "refuse_connection", "stored"]


@frozen
class Leased:
    """A lease with its times, by the store's clock."""

    lease: Lease
    acquired_at: datetime
    expires_at: datetime


@define
class Row:
    """A state row: what is read of it, and who may seal which window."""

    state: KeyState
    holder: str | None = None
    opened: Claim | None = None


@define
class Store:
    """The tables. Every method of this module holds ``lock`` while it reads or writes them."""

    clock: Callable[[], datetime]
    lock: RLock = field(factory=RLock)
    leases: dict[Key, Leased] = field(factory=dict)
    rows: dict[Key, Row] = field(factory=dict)
    entries: dict[Key, Entry] = field(factory=dict)
    holds: dict[tuple[str, str, str | None, str], Hold] = field(factory=dict)
    history: list[HistoryRow] = field(factory=list)
    sources: dict[tuple[str, str], Source] = field(factory=dict)
    values: dict[tuple[str, str], dict[str, ConfigValue]] = field(factory=lambda: defaultdict(dict))
    changes: list[str] = field(factory=list)

    def changed(self) -> str:
        """A new revision of the catalog."""
        self.changes[:] = [uuid4().hex]
        return self.changes[0]

    def live(self, key: Key) -> Leased | None:
        """The lease that holds ``key`` now."""
        held = self.leases.get(key)
        return held if held and held.expires_at > self.clock() else None

    def claimed(self, claim: Claim) -> Row:
        """The row of ``claim``, if nobody opened, sealed or revised the key since (PROTOCOL 2.1, 2.2)."""
        row = self.rows.get(claim.key)
        if row is None or row.opened is None:
            raise LeaseLost
        now = (row.state.fence, row.holder, row.state.window_seq, row.opened.window_id)
        if now != (claim.fence, claim.token, claim.window_seq, claim.window_id):
            raise LeaseLost
        return row

    def end(
        self,
        claim: Claim,
        status: Status,
        *,
        window: Window | None = None,
        reason: str | None = None,
        error: str | None = None,
        records: int | None = None,
        warnings: tuple[str, ...] = (),
    ) -> datetime:
        """Append the history row of the attempt that ``claim`` stood for; when it ended."""
        attempt = HistoryRow(
            window_id=claim.window_id,
            key=claim.key,
            window_seq=claim.window_seq,
            fence=claim.fence,
            worker=claim.owner,
            attempt=claim.attempt,
            window=window or claim.window,
            started_at=claim.started_at,
            completed_at=self.clock(),
            status=status,
            reason=reason,
            error=error,
            records=records,
            warnings=warnings,
        )
        self.history.append(attempt)
        return attempt.completed_at

    def abandon(self, row: Row) -> None:
        """End the open window of ``row``, if there is one, leaving its ABANDONED history row (G8)."""
        if row.opened:
            self.end(row.opened, Status.ABANDONED)
        row.opened = None


def stored(value: JSON) -> JSON:
    """``value`` as a database would give it back, sharing nothing with the caller."""
    return json.loads(json.dumps(value, allow_nan=False))


def refuse_connection(connection: Any) -> None:
    """Raise :class:`ConfigurationError` when a host's transaction was given: there is nothing to join."""
    if connection is not None:
        raise ConfigurationError("the memory backend has no database whose transaction it could join")
