"""Leases in a dict (floor: backends)."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import uuid4

from attrs import evolve, frozen

from tenantcollect.backends.memory.tables import Leased, Store
from tenantcollect.keys import Key
from tenantcollect.locks import Holder, Lease, checked_ttl

__all__ = ["MemoryLocks"]


@frozen
class MemoryLocks:
    """Leases in a dict."""

    _store: Store

    def acquire(self, keys: Collection[Key], *, owner: str, ttl: timedelta) -> list[Lease]:
        checked_ttl(ttl)
        with self._store.lock:
            free = [key for key in sorted(set(keys)) if not self._store.live(key)]
            return [self._take(key, owner, ttl) for key in free]

    def _take(self, key: Key, owner: str, ttl: timedelta) -> Lease:
        expired, now = self._store.leases.get(key), self._store.clock()
        lease = Lease(key=key, token=uuid4().hex, owner=owner, previous=expired.lease.token if expired else None)
        self._store.leases[key] = Leased(lease, now, now + ttl)
        return lease

    def renew(self, leases: Sequence[Lease], *, ttl: timedelta) -> set[Key]:
        checked_ttl(ttl)
        with self._store.lock:
            ours = [lease.key for lease in leases if self._holds(lease)]
            for key in ours:
                held = self._store.leases[key]
                self._store.leases[key] = evolve(held, expires_at=self._store.clock() + ttl)
            return set(ours)

    def release(self, leases: Sequence[Lease]) -> None:
        with self._store.lock:
            for lease in leases:
                if self._holds(lease):
                    del self._store.leases[lease.key]

    def _holds(self, lease: Lease) -> bool:
        held = self._store.leases.get(lease.key)
        return held is not None and held.lease.token == lease.token

    def holders(self, keys: Collection[Key]) -> Mapping[Key, Holder]:
        with self._store.lock:
            held = {key: live for key in keys if (live := self._store.live(key))}
        return {
            key: Holder(owner=live.lease.owner, acquired_at=live.acquired_at, expires_at=live.expires_at)
            for key, live in held.items()
        }
