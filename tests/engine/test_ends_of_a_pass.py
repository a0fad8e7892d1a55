"""G10 and PROTOCOL 4: however a pass ends, no thread and no lease of it is left behind."""

import signal
import threading
import time
from datetime import timedelta

import pytest

from tenantcollect import Orchestrator
from tenantcollect.errors import DatabaseUnavailable
from tenantcollect.events import PassStarted
from tenantcollect.keys import Key
from tests.engine.conftest import START, collector

KEY = Key("acme", "hub", "item")


def left_behind() -> set[str]:
    """The names of our own threads that do not end."""
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("tenantcollect")]
    for thread in ours:
        thread.join(timeout=5)
    return {thread.name for thread in ours if thread.is_alive()}


def until_cancelled(begun: threading.Event):
    """A ``run`` that ends only when it is told to."""

    def run(context):
        begun.set()
        while True:
            context.raise_if_cancelled()
            time.sleep(0.01)

    return collector(run)


def test_an_interrupt_in_a_host_s_own_program_leaves_nothing_behind(make, backend):
    """Ctrl-C during ``run()`` reaches the caller, after the open windows were ended and their leases given back."""
    main = threading.main_thread().ident

    def run(context):
        signal.pthread_kill(main, signal.SIGINT)
        while True:
            context.raise_if_cancelled()
            time.sleep(0.01)

    orchestrator = make({"hub.item": collector(run)})
    orchestrator.configure("acme", "hub", {})
    with pytest.raises(KeyboardInterrupt):
        orchestrator.run()
    assert backend.locks.holders([KEY]) == {}
    [state] = backend.state.load([KEY])
    assert state.open_window is None
    assert state.failures == 0
    assert left_behind() == set()


def test_close_waits_for_the_pass_that_runs(make, backend):
    """``close()`` returns when nothing runs any more: what it lets go of cannot be used again by a pass."""
    begun = threading.Event()
    orchestrator = make({"hub.item": until_cancelled(begun)}, grace=timedelta(seconds=0.1))
    orchestrator.configure("acme", "hub", {})
    reports = []
    running = threading.Thread(target=lambda: reports.append(orchestrator.run()))
    running.start()
    assert begun.wait(10)
    orchestrator.close()
    assert backend.locks.holders([KEY]) == {}
    assert left_behind() == set()
    running.join(10)
    assert [key.reason for key in reports[0].keys] == ["runnable"]


def test_g10_close_lets_go_of_what_is_ours_though_the_wait_is_interrupted(make):
    """Ctrl-C while ``close()`` waits for a pass reaches the caller, after the engine was disposed."""
    main, begun, closed, reports = threading.main_thread().ident, threading.Event(), [], []

    def run(context):
        begun.set()
        try:
            while True:
                context.raise_if_cancelled()
                time.sleep(0.01)
        finally:
            signal.pthread_kill(main, signal.SIGINT)

    orchestrator = make({"hub.item": collector(run)}, grace=0, on_close=lambda: closed.append(True))
    orchestrator.configure("acme", "hub", {})
    running = threading.Thread(target=lambda: reports.append(orchestrator.run()))
    running.start()
    assert begun.wait(10)
    with pytest.raises(KeyboardInterrupt):
        orchestrator.close()
    assert closed == [True]
    running.join(10)
    assert [key.reason for key in reports[0].keys] == ["runnable"]


def test_close_inside_a_pass_does_not_wait_for_itself(make):
    """A subscriber may close the orchestrator it is told by."""
    orchestrator = make({"hub.item": collector(lambda: None)})
    orchestrator.configure("acme", "hub", {})
    orchestrator.subscribe(lambda _: orchestrator.close())
    began = time.monotonic()
    orchestrator.run()
    assert time.monotonic() - began < 10


def test_a_pass_that_has_just_begun_can_be_stopped(make):
    """Whoever is told of its beginning may stop it: then it begins no window."""
    orchestrator = make({"hub.item": collector(lambda: 1)})
    orchestrator.configure("acme", "hub", {})
    orchestrator.subscribe(lambda event: orchestrator.stop() if isinstance(event, PassStarted) else None)
    assert orchestrator.run().windows.completed == 0


def test_a_pass_that_is_just_beginning_can_be_stopped(backend):
    """Also while it asks for the time, which may be a read of a database that hesitates."""
    beginning = []

    def clock():
        if beginning:
            orchestrator.stop()
        return START

    parts = {"state": backend.state, "locks": backend.locks, "catalog": backend.catalog}
    with Orchestrator(**parts, clock=clock, collectors={"hub.item": collector(lambda: 1)}) as orchestrator:
        orchestrator.configure("acme", "hub", {})
        beginning.append(True)
        assert orchestrator.run().windows.completed == 0


def test_the_end_of_a_pass_is_told_whatever_ended_it(make):
    """Its beginning was: a host that counts passes counts right."""

    def fail():
        raise DatabaseUnavailable

    told = []
    orchestrator = make({"hub.item": collector(lambda: 1)})
    orchestrator.subscribe(lambda event: told.append(type(event).__name__))
    orchestrator.configure("acme", "hub", {})
    orchestrator._passes.version = fail
    with pytest.raises(DatabaseUnavailable):
        orchestrator.run()
    assert told == ["PassStarted", "PassFinished"]
