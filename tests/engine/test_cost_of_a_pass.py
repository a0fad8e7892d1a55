"""What a pass costs, counted and not timed: it grows with what there is to do, and with nothing else (G9)."""

from concurrent.futures import Executor, Future

import pytest

from tenantcollect import Orchestrator
from tenantcollect.backends.memory.state import MemoryState

from .conftest import collector


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
    assert len(looks) <= 12 * tenants


class TakenElsewhere:
    """A lock backend of the host's own: it knows that some keys are busy, and the schedule does not."""

    def __init__(self, locks, tenants):
        self.locks, self.tenants = locks, tenants

    def __getattr__(self, name):
        return getattr(self.locks, name)

    def acquire(self, keys, *, owner, ttl):
        return self.locks.acquire([key for key in keys if key.tenant_id not in self.tenants], owner=owner, ttl=ttl)


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
