"""The worst lock backend there can be (floor: testing)."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import uuid4

from tenantcollect.keys import Key
from tenantcollect.locks import Holder, Lease

__all__ = ["LyingLocks"]


class LyingLocks:
    """Grants every key to everybody, always: with it the fence alone guards the data (G3, E22)."""

    def acquire(self, keys: Collection[Key], *, owner: str, ttl: timedelta) -> list[Lease]:  # noqa: ARG002 - the contract's
        return [Lease(key=key, token=uuid4().hex, owner=owner) for key in keys]

    def renew(self, leases: Sequence[Lease], *, ttl: timedelta) -> set[Key]:  # noqa: ARG002 - the contract's
        return {lease.key for lease in leases}

    def release(self, leases: Sequence[Lease]) -> None:
        """There is nothing to give back: nobody ever had it alone."""

    def holders(self, keys: Collection[Key]) -> Mapping[Key, Holder]:  # noqa: ARG002 - the contract's
        return {}
