"""What others do while a pass runs: none of it is overwritten, overlooked or walked over (PROTOCOL 2.11, P9)."""

from datetime import timedelta

import pytest
from attrs import evolve

from tenantcollect import CollectorOptions, KeyStale, WindowFailed
from tenantcollect.keys import Key
from tenantcollect.state import Status
from tenantcollect.windows import NOTHING
from tests.engine.conftest import START, Calls, collector, recording

DAY = timedelta(days=1)
KEY = Key("t1", "acme", "a")
ONE_DAY = CollectorOptions(initial_range=DAY)
TWO_DAYS = CollectorOptions(initial_range=2 * DAY)


@pytest.mark.parametrize("command", ["pause", "disconnect", "replay", "backfill"])
def test_a_command_ends_the_window_that_is_open(make, backend, command):
    """Its holder cannot seal any more, and what it did is in the history."""
    orders = {
        "pause": lambda: orchestrator.pause("t1"),
        "disconnect": lambda: orchestrator.disconnect("t1", "acme"),
        "replay": lambda: orchestrator.replay("t1"),
        "backfill": lambda: orchestrator.backfill("t1", since=START - 10 * DAY),
    }
    once = iter([orders[command]])

    def run():
        next(once, lambda: None)()

    orchestrator = make({"acme.a": collector(run, options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {})
    report = orchestrator.run(max_windows=1)
    assert report.windows.completed == 0
    assert [row.status for row in orchestrator.history()].count(Status.ABANDONED) == 1
    [state] = backend.state.load([KEY])
    assert (state.open_window, state.failures, state.coverage) == (None, 0, NOTHING)
    assert backend.locks.holders([KEY]) == {}


def chain(calls, up=lambda **_: 1, below=lambda **_: 1):
    """A collector and one that depends on it, over two days."""
    return {
        "acme.up": collector(recording(calls["up"], up), options=TWO_DAYS),
        "acme.below": collector(recording(calls["below"], below), depends=("up",), options=TWO_DAYS),
    }


def test_a_walk_goes_on_into_what_its_upstream_has_collected_meanwhile(make):
    """The upstream's coverage is read again where what was known of it is used up: no second claim is needed."""
    calls = {"up": Calls(), "below": Calls()}
    other = make(chain({"up": Calls(), "below": Calls()}))

    def below(**_):
        other.run("t1", "acme", "up")

    orchestrator = make(chain(calls, below=below))
    orchestrator.configure("t1", "acme", {})
    other.run("t1", "acme", "up", max_windows=1)
    assert orchestrator.run("t1", "acme", "below").windows.completed == 2
    assert [row.fence for row in orchestrator.history("t1", "acme", "below")] == [1, 1]


def test_an_upstream_that_moves_between_the_look_and_the_deferral_is_seen(make, clock):
    """The hint of its commit found nobody waiting yet: who then waits looks once more."""
    calls = {"up": Calls(), "below": Calls()}
    other = make(chain({"up": Calls(), "below": Calls()}))
    orchestrator = make(chain(calls))
    orchestrator.configure("t1", "acme", {})
    other.run()
    clock.advance(days=5)
    moved = []

    def move(event):
        if isinstance(event, KeyStale) and event.key.script == "below" and not moved:
            moved.append(other.run("t1", "acme", "up").windows.completed)

    orchestrator.subscribe(move)
    assert orchestrator.run("t1", "acme", "below").windows.completed == 5
    assert moved == [5]


def test_a_turn_that_others_have_taken_over_puts_nothing_off(make, backend, clock):
    """A failure is told before the key is put off; who lost its lease in between leaves the other's word alone."""
    other = make({"acme.a": collector(lambda: 1, options=ONE_DAY)})

    def fail():
        raise ValueError

    def take_over(event):
        if isinstance(event, WindowFailed):
            clock.advance(minutes=5)
            assert other.run().windows.completed
            seen.append(backend.state.schedule.entries([KEY])[KEY])

    seen = []
    orchestrator = make({"acme.a": collector(fail, options=ONE_DAY)})
    orchestrator.subscribe(take_over)
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    now = backend.state.schedule.entries([KEY])[KEY]
    assert [evolve(entry, busy=now.busy) for entry in seen] == [now]
