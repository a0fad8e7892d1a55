"""L01–L16: what every lock backend must do (floor: testing; PROTOCOL 8)."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from threading import Barrier

import pytest

from tenantcollect.errors import ConfigurationError, DatabaseUnavailable
from tenantcollect.keys import Key
from tenantcollect.locks import Lease, Locks
from tenantcollect.testing.clock import skewed_clock
from tenantcollect.testing.harness import Harness
from tenantcollect.testing.steps import KEY, TTL, key
from tenantcollect.testing.suite import Suite, needs

__all__ = ["LocksSuite"]

HOSTILE_TENANTS = [
    "a", "A",
    "ab", "a/b", "a.b", "a:b", "a|b", "a b", "a'b", 'a"b', "a`b", "a\\b", "a%", "a_", "%", "_", "*", "?",
    "é", "e", "ß", "ss", "日本", "😀", "{}", "[]", "()", "None", "null", "0", "00", "'; DROP TABLE lease; --",
    "x" * 200, "x" * 199,
]  # fmt: skip
HOUR = timedelta(hours=1)
MOMENT = timedelta(seconds=1)


def acquire(locks: Locks, which: Key = KEY, owner: str = "worker-1", ttl: timedelta = TTL) -> Lease | None:
    """The lease of one key, or None where it is busy."""
    return next(iter(locks.acquire([which], owner=owner, ttl=ttl)), None)


def taken(locks: Locks, which: Key = KEY, owner: str = "worker-1") -> Lease:
    """The lease of one key, which must be free."""
    lease = acquire(locks, which, owner)
    assert lease is not None, f"{which} is busy"
    return lease


def owner_of(locks: Locks, which: Key = KEY) -> str | None:
    """Who holds the key now."""
    holder = locks.holders([which]).get(which)
    return holder.owner if holder else None


class LocksSuite(Suite):
    """At most one unexpired lease per key, timed by the backend, given back only by its own token."""

    @pytest.fixture
    def locks(self, harness: Harness) -> Locks:
        """The locks under test."""
        harness.prepare([KEY])
        return harness.backend.locks

    @pytest.fixture
    def others(self, harness: Harness, locks: Locks) -> Locks:  # noqa: ARG002 - made after the first ones
        """The locks of another process on the same store."""
        return harness.beside().locks

    def test_l01_acquire_free(self, locks: Locks) -> None:
        """A free key is leased with a fresh token, and its holder is known."""
        lease = taken(locks)
        assert (lease.key, lease.owner, lease.previous) == (KEY, "worker-1", None)
        assert lease.token
        holder = locks.holders([KEY])[KEY]
        assert holder.owner == "worker-1"
        assert abs(holder.expires_at - holder.acquired_at - TTL) < MOMENT

    def test_l02_second_is_busy_not_an_error(self, harness: Harness, locks: Locks, others: Locks) -> None:
        """A held key is left out of the answer, whoever asks, and the free ones beside it are leased."""
        free = key("beta")
        harness.prepare([free])
        taken(locks)
        assert acquire(locks) is None
        assert [lease.key for lease in others.acquire([KEY, free], owner="worker-2", ttl=TTL)] == [free]
        assert owner_of(others) == "worker-1"

    def test_l03_one_winner_of_32(self, harness: Harness, locks: Locks) -> None:
        """Of 32 that ask at once for the same keys, each key goes to exactly one."""
        keys = [KEY, key("beta"), key("gamma")]
        harness.prepare(keys)
        everyone = [locks, *(harness.beside().locks for _ in range(3))] * 8
        start = Barrier(len(everyone))

        def ask(number: int) -> list[Key]:
            start.wait(30)
            owner = f"worker-{number}"
            return [lease.key for lease in everyone[number].acquire(keys, owner=owner, ttl=TTL)]

        with ThreadPoolExecutor(len(everyone)) as pool:
            granted = [which for answer in pool.map(ask, range(len(everyone))) for which in answer]
        assert sorted(granted) == sorted(keys)

    def test_l04_release_then_acquire(self, locks: Locks, others: Locks) -> None:
        """A key that was given back is free, and is taken over from nobody."""
        first = taken(locks)
        locks.release([first])
        assert owner_of(locks) is None
        second = taken(others, owner="worker-2")
        assert second.previous is None
        assert second.token != first.token

    def test_l05_release_twice(self, locks: Locks, others: Locks) -> None:
        """Giving a lease back again is no error and does not touch its next holder."""
        lease = taken(locks)
        locks.release([lease])
        locks.release([lease])
        taken(others, owner="worker-2")
        locks.release([lease, lease])
        assert owner_of(locks) == "worker-2"

    def test_l06_release_by_a_stale_token(self, harness: Harness, locks: Locks, others: Locks) -> None:
        """Whoever lost a lease by expiry cannot give away that of the new holder."""
        stale = taken(locks)
        harness.expire([KEY])
        taken(others, owner="worker-2")
        locks.release([stale])
        assert owner_of(locks) == "worker-2"
        assert acquire(locks) is None

    def test_l07_renew_extends(self, locks: Locks) -> None:
        """Renewing moves the end of the lease to a full TTL from now."""
        lease = taken(locks)
        before = locks.holders([KEY])[KEY]
        assert locks.renew([lease], ttl=2 * TTL) == {KEY}
        after = locks.holders([KEY])[KEY]
        assert after.expires_at > before.expires_at + TTL - MOMENT
        assert after.acquired_at == before.acquired_at

    def test_l08_renew_after_takeover(self, harness: Harness, locks: Locks, others: Locks) -> None:
        """Whoever lost the lease is told so by its next renewal, which leaves the others' as they are."""
        kept_key = key("beta")
        harness.prepare([kept_key])
        stale, kept = taken(locks), taken(locks, kept_key)
        harness.expire([KEY])
        locks.renew([kept], ttl=TTL)
        taken(others, owner="worker-2")
        assert locks.renew([stale, kept], ttl=TTL) == {kept_key}
        assert owner_of(locks) == "worker-2"

    def test_l09_expiry_allows_takeover(self, harness: Harness, locks: Locks, others: Locks) -> None:
        """An expired key is not held; the one who takes it over learns the token of the lease before."""
        stale = taken(locks)
        harness.expire([KEY])
        assert owner_of(locks) is None
        assert taken(others, owner="worker-2").previous == stale.token

    def test_l10_renew_after_expiry(self, harness: Harness, locks: Locks, others: Locks) -> None:
        """An expired lease that nobody took is renewed, and the key is held again."""
        lease = taken(locks)
        harness.expire([KEY])
        assert locks.renew([lease], ttl=TTL) == {KEY}
        assert acquire(others) is None
        assert owner_of(others) == "worker-1"

    def test_l11_keys_are_independent(self, harness: Harness, locks: Locks, others: Locks) -> None:
        """Taking, renewing and releasing one key leaves every other key of the tenant alone."""
        keys = [KEY, key(script="branch"), key(data_source="github"), key("beta")]
        harness.prepare(keys)
        leases = [taken(locks, which) for which in keys]
        locks.release(leases[:1])
        assert set(others.holders(keys)) == set(keys[1:])
        assert locks.renew(leases, ttl=TTL) == set(keys[1:])
        assert [lease.key for lease in others.acquire(keys, owner="worker-2", ttl=TTL)] == [KEY]

    def test_l12_hostile_text_does_not_collide(self, harness: Harness, locks: Locks) -> None:
        """Whatever a tenant is called, its key is its own."""
        parts = [("a", "b_c", "d"), ("a", "b", "c_d"), ("a_b", "c", "d"), ("a", "bc", "d"), ("ab", "c", "d")]
        keys = [*map(key, HOSTILE_TENANTS), *(Key(*part) for part in parts)]
        harness.prepare(keys)
        leases = {which: taken(locks, which) for which in keys}
        locks.release([leases[key("a%")], leases[key("a_")]])
        assert set(locks.holders(keys)) == set(keys) - {key("a%"), key("a_")}

    @needs("unreachable")
    def test_l13_backend_down(self, harness: Harness) -> None:
        """A store that is down is said to be, and soon."""
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            acquire(harness.unreachable().locks)
        assert time.monotonic() - began < 15

    @needs("own_clock")
    @pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["an_hour_ahead", "an_hour_behind"])
    def test_l14_worker_clock(self, locks: Locks, others: Locks, by: timedelta) -> None:
        """A worker whose clock is an hour off neither steals a lease nor takes one for longer."""
        lease = taken(locks)
        before = locks.holders([KEY])[KEY]
        with skewed_clock(by):
            assert acquire(others) is None
            assert owner_of(others) == "worker-1"
            assert locks.renew([lease], ttl=TTL) == {KEY}
        after = locks.holders([KEY])[KEY]
        assert timedelta() <= after.expires_at - before.expires_at < TTL

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    def test_l15_forked_child(self, locks: Locks, others: Locks) -> None:
        """A child forked by a collector cannot give back, by accident, what its parent holds."""
        lease = taken(locks)
        child = os.fork()
        if not child:
            with suppress(BaseException):
                locks.release([lease])
            os._exit(0)
        os.waitpid(child, 0)
        assert owner_of(others) == "worker-1"
        assert locks.renew([lease], ttl=TTL) == {KEY}

    @pytest.mark.parametrize("ttl", [timedelta(seconds=1.9), timedelta(), -TTL, timedelta(days=1, seconds=1)])
    def test_l16_ttl_out_of_bounds(self, locks: Locks, ttl: timedelta) -> None:
        """A TTL below two seconds or above a day is refused."""
        lease = taken(locks)
        with pytest.raises(ConfigurationError, match="lease_ttl"):
            locks.renew([lease], ttl=ttl)
        locks.release([lease])
        with pytest.raises(ConfigurationError, match="lease_ttl"):
            acquire(locks, ttl=ttl)
        assert owner_of(locks) is None

    @pytest.mark.parametrize("ttl", [timedelta(seconds=2), timedelta(days=1)])
    def test_l16_ttl_at_the_bounds(self, locks: Locks, ttl: timedelta) -> None:
        """Two seconds and a day are both accepted."""
        assert acquire(locks, ttl=ttl) is not None
        holder = locks.holders([KEY])[KEY]
        assert abs(holder.expires_at - holder.acquired_at - ttl) < MOMENT
