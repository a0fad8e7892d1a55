"""Leases as rows, timed by the database's clock (floor: backends; PROTOCOL P2, P4, P9).

Order of locks: rows of the lease table, in the order of keys, and nothing else.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Table, Text, and_, exists, false, func, not_, select, update

from tenantcollect.backends.sql.columns import KEY
from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.expressions import KEY_COLUMNS, Clock, after, key_of, key_rows, rows, same_key
from tenantcollect.keys import Key
from tenantcollect.locks import LONGEST_TTL, Holder, Lease, checked_ttl

__all__ = ["SqlLocks", "busy"]

SHORT = timedelta(seconds=5)
TOKENS = {**KEY_COLUMNS, "token": Text()}


def busy(lease: Table) -> ColumnElement[bool]:
    """Whether a row is leased by somebody now. What ends at no time, or far beyond any lease, is none."""
    ends = lease.c.expires_at.between(Clock(), after(2 * LONGEST_TTL.total_seconds()))
    return and_(lease.c.token.is_not(None), func.coalesce(ends, false()))


class SqlLocks:
    """A :class:`~tenantcollect.locks.Locks` in ``data_source_lease``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._granted: set[str] = set()
        self._inherited: frozenset[str] = frozenset()
        self._process = os.getpid()

    def acquire(self, keys: Collection[Key], *, owner: str, ttl: timedelta) -> list[Lease]:
        checked_ttl(ttl)
        wanted = {key: uuid4().hex for key in sorted(set(keys))}
        if not wanted:
            return []
        leases = self._take(wanted, owner, ttl)
        left = set(wanted) - {lease.key for lease in leases}
        if left and (made := self._make(left)):
            leases += self._take({key: wanted[key] for key in made}, owner, ttl)
        self._granted |= {lease.token for lease in leases}
        return leases

    def _take(self, wanted: Mapping[Key, str], owner: str, ttl: timedelta) -> list[Lease]:
        """P2: whoever is first locks the free rows; what another one is taking is skipped, not waited for."""
        lease = self._database.tables.lease
        dialect = self._database.dialect
        with self._database.hinting() as connection:
            asked = rows(connection, "asked", TOKENS, map(_row, wanted, wanted.values()))
            free = (
                select(*(lease.c[part] for part in KEY), lease.c.token.label("previous"), asked.c.token)
                .join(asked, same_key(lease, asked))
                .where(not_(busy(lease)))
                .order_by(*(lease.c[part] for part in KEY))
                .with_for_update(of=lease, skip_locked=True)
            )
            found = dialect.materialized(connection, free, "free")
            previous = select(found.c.previous).where(same_key(lease, found)).correlate(lease).scalar_subquery()
            take = (
                update(lease)
                .where(same_key(lease, found))
                .values(
                    token=found.c.token,
                    owner=owner,
                    acquired_at=Clock(),
                    expires_at=after(ttl.total_seconds()),
                    progress=None,
                )
                .returning(*(lease.c[part] for part in KEY), lease.c.token, previous.label("previous"))
            )
            taken = dialect.together(connection, [take])
        return [Lease(key=key_of(row), token=row.token, owner=owner, previous=row.previous) for row in taken]

    def _make(self, keys: Iterable[Key]) -> list[Key]:
        """Rows for keys of which no state ever made one: this lock may guard another state."""
        lease = self._database.tables.lease
        with self._database.hinting() as connection:
            asked = key_rows(connection, keys)
            missing = select(asked).where(~exists().where(same_key(lease, asked))).order_by(*asked.c)
            make = self._database.dialect.insert(lease).from_select(KEY, missing).on_conflict_do_nothing()
            return [key_of(row) for row in connection.execute(make.returning(*(lease.c[p] for p in KEY)))]

    def renew(self, leases: Sequence[Lease], *, ttl: timedelta) -> set[Key]:
        """P4: one statement for all leases of a process, with a short timeout of its own."""
        checked_ttl(ttl)
        ours = self._ours(leases)
        if not ours:
            return set()
        renewed = self._change(ours, {"expires_at": after(ttl.total_seconds())})
        kept = {key_of(row) for row in renewed}
        self._granted -= {lease.token for lease in ours if lease.key not in kept}
        return kept

    def release(self, leases: Sequence[Lease]) -> None:
        """P9: the row keeps its due time, which the schedule has set."""
        ours = self._ours(leases)
        if ours:
            free = {"token": None, "owner": None, "acquired_at": None, "expires_at": None, "progress": None}
            self._change(ours, free)
            self._granted -= {lease.token for lease in ours}

    def _change(self, leases: Iterable[Lease], values: Mapping[str, Any]) -> Sequence[Any]:
        """Change the rows that still carry these tokens; their keys."""
        lease = self._database.tables.lease
        dialect = self._database.dialect
        with self._database.hinting(several=True) as connection:
            dialect.hurry(connection, SHORT)
            asked = rows(connection, "asked", TOKENS, (_row(each.key, each.token) for each in leases))
            mine = (
                select(*(lease.c[part] for part in KEY))
                .join(asked, and_(same_key(lease, asked), lease.c.token == asked.c.token))
                .order_by(*(lease.c[part] for part in KEY))
                .with_for_update(of=lease)
            )
            held = dialect.materialized(connection, mine, "mine")
            change = update(lease).where(same_key(lease, held)).values(dict(values))
            return dialect.together(connection, [change.returning(*(lease.c[part] for part in KEY))])

    def holders(self, keys: Collection[Key]) -> Mapping[Key, Holder]:
        if not keys:
            return {}
        lease = self._database.tables.lease
        with self._database.reading() as connection:
            asked = key_rows(connection, keys)
            held = (
                select(*(lease.c[part] for part in KEY), lease.c.owner, lease.c.acquired_at, lease.c.expires_at)
                .join(asked, same_key(lease, asked))
                .where(busy(lease))
            )
            return {
                key_of(row): Holder(owner=row.owner or "", acquired_at=row.acquired_at, expires_at=row.expires_at)
                for row in connection.execute(held)
            }

    def _ours(self, leases: Iterable[Lease]) -> list[Lease]:
        """Without those that the process held which this one was forked from: they are still its (L15)."""
        if self._process != os.getpid():
            self._inherited |= self._granted
            self._granted, self._process = set(), os.getpid()
        return [lease for lease in leases if lease.token not in self._inherited]


def _row(key: Key, token: str) -> dict[str, str]:
    return {**{part: getattr(key, part) for part in KEY}, "token": token}
