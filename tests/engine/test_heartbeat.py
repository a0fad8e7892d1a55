"""What keeps a lease, what ends it, and how long a holder may trust it (PROTOCOL 4)."""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from tenantcollect import CollectorOptions, Orchestrator
from tenantcollect.backends.memory import MemoryBackend
from tenantcollect.backends.sql import SqlBackend
from tenantcollect.errors import DatabaseUnavailable, LeaseLost
from tenantcollect.keys import Key
from tenantcollect.locks import Locks
from tenantcollect.registry import Registry
from tenantcollect.state import NewKey, Opening
from tenantcollect.windows import Window
from tenantcollect.worker import Heartbeat, Turn
from tests.engine.conftest import START, Clock, collector

KEY = Key("acme", "hub", "item")
TTL = timedelta(seconds=60)
Begin = Callable[..., tuple[Heartbeat, Turn]]


@pytest.fixture
def begin(backend: MemoryBackend) -> Begin:
    """A heartbeat that beats only when it is told to, and a turn that it watches."""

    def begun(locks: Locks | None = None) -> tuple[Heartbeat, Turn]:
        [lease] = backend.locks.acquire([KEY], owner="mine", ttl=TTL)
        backend.state.ensure([NewKey(key=KEY, history_start=START)], due_at=START)
        window = Window(START, START + timedelta(days=1))
        asked = Opening(key=KEY, token=lease.token, owner="mine", window_seq=0, window_id="w", window=window)
        [claim] = backend.state.open([asked])
        turn = Turn(
            lease=lease,
            claim=claim,
            seen=backend.state.schedule.entries([KEY])[KEY],
            state=next(backend.state.load([KEY])),
            collector=Registry({"hub.item": collector(lambda: 1)}).collector("hub.item"),
            revision="",
            planned_at=START,
            ttl=TTL,
            dependents=(),
            descendants=(),
            next_step=lambda _: None,
            may_continue=bool,
        )
        heartbeat = Heartbeat(locks or backend.locks, backend.state.schedule, TTL)
        heartbeat._turns[KEY] = turn
        return heartbeat, turn

    return begun


def expiry(backend: MemoryBackend) -> timedelta:
    """How long the lease still lasts, from the beginning."""
    return backend.locks.holders([KEY])[KEY].expires_at - START


def test_a_beat_gives_a_lease_its_whole_time_again(begin: Begin, backend: MemoryBackend, clock: Clock) -> None:
    """Also one that had expired, if nobody took it."""
    heartbeat, turn = begin()
    for seconds in (50, 200):
        clock.now = START + timedelta(seconds=seconds)
        heartbeat.beat()
        assert expiry(backend) == timedelta(seconds=seconds) + TTL
    assert turn.cancelled is None


def test_a_lease_that_another_has_ends_its_window(begin: Begin, backend: MemoryBackend, clock: Clock) -> None:
    """The window is told, and the lease of the other is left alone."""
    heartbeat, turn = begin()
    clock.advance(seconds=61)
    assert backend.locks.acquire([KEY], owner="other", ttl=TTL)
    heartbeat.beat()
    assert isinstance(turn.cancelled, LeaseLost)
    assert backend.locks.holders([KEY])[KEY].owner == "other"


@pytest.mark.parametrize("ended", ["overdue", "over", "let go"])
def test_a_turn_that_is_at_its_end_keeps_its_lease_no_longer(
    begin: Begin, backend: MemoryBackend, clock: Clock, ended: str
) -> None:
    """A hung window loses its key after a TTL at the latest, and is not told that it has (PROTOCOL 6)."""
    heartbeat, turn = begin()
    match ended:
        case "overdue":
            turn.begin_window(turn.claim, timedelta(seconds=-1))
        case "over":
            turn.end()
        case _:
            heartbeat.let_go(KEY)
    clock.advance(seconds=50)
    heartbeat.beat()
    assert expiry(backend) == TTL
    assert turn.cancelled is None


@pytest.mark.parametrize(("seconds", "given_up"), [(59, False), (61, True)])
def test_beats_that_fail_end_a_window_only_after_a_ttl(begin: Begin, seconds: int, given_up: bool) -> None:
    """Before that the lease is still ours, whether or not the database can be asked."""
    nowhere = SqlBackend("postgresql+psycopg://nobody@127.0.0.1:1/none")
    heartbeat, turn = begin(nowhere.locks)
    turn.beaten_at = time.monotonic() - seconds
    heartbeat.beat()
    assert isinstance(turn.cancelled, LeaseLost) == given_up
    nowhere.close()


@pytest.mark.parametrize(("seconds", "trusted"), [(44, True), (46, False)])
def test_a_lease_is_trusted_for_three_quarters_of_its_ttl(begin: Begin, seconds: int, trusted: bool) -> None:
    """After that no further window is opened under it."""
    _, turn = begin()
    turn.beaten_at = time.monotonic() - seconds
    assert turn.trusted == trusted
    assert not turn.expired


class Unrenewed:
    """A host's own lock backend, which cannot be reached for renewals."""

    def __init__(self, locks: Locks) -> None:
        self.acquire, self.release, self.holders = locks.acquire, locks.release, locks.holders

    def renew(self, leases: object, *, ttl: timedelta) -> set[Key]:
        """Never."""
        raise DatabaseUnavailable


@pytest.mark.parametrize(("slow", "fences"), [(False, [1, 1]), (True, [1, 2])])
def test_nothing_more_is_opened_under_a_lease_that_is_not_trusted(
    backend: MemoryBackend, clock: Clock, slow: bool, fences: list[int]
) -> None:
    """The key is claimed anew for its next window."""

    def run() -> None:
        began = time.monotonic()
        while slow and time.monotonic() - began < 1.6:
            time.sleep(0.05)

    parts = {"state": backend.state, "catalog": backend.catalog, "clock": clock}
    collectors = {"hub.item": collector(run, options=CollectorOptions(initial_range=timedelta(days=2)))}
    with Orchestrator(**parts, locks=Unrenewed(backend.locks), collectors=collectors, lease_ttl=2) as orchestrator:
        orchestrator.configure("acme", "hub", {})
        orchestrator.run()
        assert [row.fence for row in reversed(list(orchestrator.history()))] == fences
