"""Leases: a holder's time-limited claim of a key (floor: contracts).

The lock saves work; the fence, which belongs to the state, guards data. A lock backend that grants a key twice
costs attempts, never rows (G3). What an implementation must do is proven by ``tenantcollect.testing.LocksSuite``.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from attrs import frozen

from tenantcollect.errors import ConfigurationError
from tenantcollect.keys import Key

__all__ = ["DEFAULT_TTL", "LONGEST_TTL", "Holder", "Lease", "Locks", "checked_ttl"]

DEFAULT_TTL = timedelta(seconds=60)
SHORTEST_TTL = timedelta(seconds=2)
LONGEST_TTL = timedelta(days=1)


@frozen(kw_only=True)
class Lease:
    """A granted lease. ``previous`` is the token of the expired lease it took over, if there was one."""

    key: Key
    token: str
    owner: str
    previous: str | None = None


@frozen(kw_only=True)
class Holder:
    """Who holds a key now; times in UTC, by the lock backend's clock."""

    owner: str
    acquired_at: datetime
    expires_at: datetime


class Locks(Protocol):
    """1. At most one unexpired lease per key. 2. Expiry is timed by the backend, never by a caller's clock.
    3. Only its own token renews or releases a lease. 4. Keys are independent. 5. Nothing waits: a held key is
    left out of the answer. 6. A backend that is down raises :class:`DatabaseUnavailable` soon.
    """

    def acquire(self, keys: Collection[Key], *, owner: str, ttl: timedelta) -> list[Lease]:
        """Lease what is free of ``keys``; each with a fresh random token. A key left out is busy."""
        ...

    def renew(self, leases: Sequence[Lease], *, ttl: timedelta) -> set[Key]:
        """Extend these leases by ``ttl`` from now. A key left out of the answer is lost.

        An expired lease that nobody took is renewed.
        """
        ...

    def release(self, leases: Sequence[Lease]) -> None:
        """Give these leases back; one that is not ours any more is left alone."""
        ...

    def holders(self, keys: Collection[Key]) -> Mapping[Key, Holder]:
        """Who holds which of ``keys`` now; expired leases are not held."""
        ...


def checked_ttl(ttl: timedelta) -> timedelta:
    """``ttl``, if it is between two seconds and a day; raises :class:`ConfigurationError` otherwise."""
    if not SHORTEST_TTL <= ttl <= LONGEST_TTL:
        raise ConfigurationError(f"lease_ttl must be between 2 seconds and 1 day, not {ttl}")
    return ttl
