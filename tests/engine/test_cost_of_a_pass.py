"""What a pass costs, counted and not timed: it grows with what there is to do, and with nothing else (G9)."""

from concurrent.futures import Executor, Future
from datetime import timedelta

import pytest

from tenantcollect import AuthenticationError, CollectorOptions, Orchestrator
from tenantcollect.backends.memory.schedule import MemorySchedule
from tenantcollect.backends.memory.state import MemoryState
from tenantcollect.keys import EVERYTHING
from tenantcollect.passes import sweep

from .conftest import Calls, collector, recording


class AtOnce(Executor):
    """Runs a call while it is submitted, so that every run takes the same course."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.fixture
def looks(monkeypatch):
    """How many states were read, as a list that grows."""
    read = []
    load = MemoryState.load

    def counted(state, which):
        for found in load(state, which):
            read.append(found.key)
            yield found

    monkeypatch.setattr(MemoryState, "load", counted)
    return read


def fails():
    """A ``run`` that never succeeds."""
    raise RuntimeError("down")


@pytest.mark.parametrize("slots", [1, 8, 20])
def test_g4_a_key_gives_its_slot_back_while_others_wait(make, monkeypatch, slots):
    """However many windows it has left: every key has its first turn before any has its second."""
    monkeypatch.setattr(sweep, "TURN_SECONDS", 0)
    tenants, calls = [f"t{number:02}" for number in range(max(16, 2 * slots))], Calls()
    options = CollectorOptions(initial_range=timedelta(days=3))
    collectors = {"acme.a": collector(recording(calls), options=options)}
    orchestrator = make(collectors, executor=AtOnce(), concurrency=slots)
    for tenant in tenants:
        orchestrator.configure(tenant, "acme", {})
    assert orchestrator.run().windows.completed == 3 * len(tenants)
    assert {tenant for tenant, *_ in calls.made[: len(tenants)]} == set(tenants)


@pytest.mark.parametrize("run", [lambda: 1, fails], ids=["good", "failing"])
@pytest.mark.parametrize("tenants", [100, 300])
def test_g9_a_key_is_looked_at_a_bounded_number_of_times(make, looks, run, tenants):
    """However many keys are due, and whether their windows succeed or fail."""
    orchestrator = make({"acme.a": collector(run, duration=None)}, executor=AtOnce(), concurrency=4)
    for number in range(tenants):
        orchestrator.configure(f"t{number:03}", "acme", {})
    looks.clear()
    report = orchestrator.run()
    assert report.windows.completed + report.windows.failed == tenants
    assert len(looks) <= 4 * tenants


class TakenElsewhere:
    """A lock backend of the host's own: it knows that some keys are busy, and the schedule does not."""

    def __init__(self, locks, tenants):
        self.locks, self.tenants = locks, tenants

    def __getattr__(self, name):
        return getattr(self.locks, name)

    def acquire(self, keys, *, owner, ttl):
        return self.locks.acquire([key for key in keys if key.tenant_id not in self.tenants], owner=owner, ttl=ttl)


def test_g9_a_key_with_nothing_left_is_put_off_once(make, backend, clock, monkeypatch):
    """Its turn knows when it is due again: it is neither made due at once nor looked at a second time for that."""
    put_off = []

    def defer(schedule, seen, until, **more):
        put_off.append((seen.key.tenant_id, until))
        return deferring(schedule, seen, until, **more)

    deferring = MemorySchedule.defer
    monkeypatch.setattr(MemorySchedule, "defer", defer)
    orchestrator = make({"acme.a": collector(lambda: 1, duration=None)}, executor=AtOnce())
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {})
    report = orchestrator.run()
    later = clock.now + CollectorOptions().interval
    assert sorted(put_off) == [("t1", later), ("t2", later)]
    assert [row.reason for row in report.keys] == ["up_to_date", "up_to_date"]


def test_g4_keys_that_are_busy_elsewhere_hide_no_other(backend, clock):
    """However many stand before it, the one that can be had is found."""
    busy = [f"t{number:03}" for number in range(150)]
    with Orchestrator(
        state=backend.state,
        locks=TakenElsewhere(backend.locks, busy),
        catalog=backend.catalog,
        clock=clock,
        collectors={"acme.a": collector(lambda: 1, duration=None)},
    ) as orchestrator:
        for tenant in (*busy, "the last"):
            orchestrator.configure(tenant, "acme", {})
        windows = orchestrator.run().windows
    assert (windows.completed, windows.busy) == (1, len(busy))


def refused():
    """A ``run`` whose key is then held, and looked at once an hour."""
    raise AuthenticationError


def test_g9_passes_over_single_tenants_leave_the_others_alone(make, backend):
    """A host that collects each tenant by a pass of its own wakes nobody else's keys, and looks at them no more."""
    tenants = [f"t{number:03}" for number in range(20)]
    orchestrator = make({"acme.a": collector(refused)})
    for tenant in tenants:
        orchestrator.configure(tenant, "acme", {})
    orchestrator.run()
    keys = [state.key for state in backend.state.load(EVERYTHING)]
    before = backend.state.schedule.entries(keys)
    for tenant in tenants[:3] * 2:
        orchestrator.run(tenant)
    assert backend.state.schedule.entries(keys) == before


def test_g9_a_pass_that_was_synced_is_idle_until_something_changes(make, looks):
    """What the catalog and the collectors ask for is made once per change, for all tenants or for each of them."""
    orchestrator = make({"acme.a": collector(lambda: 1, duration=None)})
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {})
        orchestrator.run(tenant)
    looks.clear()
    orchestrator.run("t2")
    assert looks == []
    orchestrator.run("t1")
    assert {key.tenant_id for key in looks} == {"t1"}
    looks.clear()
    for chosen in ("t1", "t2") * 3:
        orchestrator.run(chosen)
    assert looks == []
