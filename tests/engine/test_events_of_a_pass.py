"""What a host is told while its tenants are collected: each transition once."""

from datetime import timedelta

from tenantcollect import AuthenticationError, CollectorOptions, events

from .conftest import Calls, collector, recording

DAY = timedelta(days=1)
ONE_DAY = CollectorOptions(initial_range=DAY)


def test_events_tell_what_happened_once(make):
    """Each transition is one event, and a subscriber that raises hurts nobody."""
    seen = []
    orchestrator = make({"acme.a": collector(recording(Calls()), options=ONE_DAY)})
    orchestrator.subscribe(lambda event: 1 / 0)
    orchestrator.subscribe(seen.append)
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    assert [type(event) for event in seen] == [
        events.PassStarted,
        events.WindowCommitted,
        events.PassFinished,
    ]


def test_a_hold_that_ended_by_itself_is_told_once(make, clock):
    """A hold lifted by a new configuration, or by its time, is an event like any other."""
    seen = []

    def refuse(env, **_):
        if env["TOKEN"] == "bad":
            raise AuthenticationError

    orchestrator = make({"acme.a": collector(recording(Calls(), refuse), options=ONE_DAY)})
    orchestrator.subscribe(seen.append)
    orchestrator.configure("t1", "acme", {"TOKEN": "bad"})
    orchestrator.run()
    orchestrator.configure("t1", "acme", {"TOKEN": "good"})
    orchestrator.run()
    orchestrator.pause("t1", until=clock.now + DAY)
    clock.advance(days=2)
    orchestrator.run()
    orchestrator.run()
    told = [(type(event).__name__, event.reason) for event in seen if hasattr(event, "reason")]
    assert told == [
        ("HoldPlaced", "auth_failed"),
        ("WindowFailed", "auth_failed"),
        ("HoldLifted", "auth_failed"),
        ("HoldPlaced", "paused_by_user"),
        ("HoldLifted", "paused_by_user"),
    ]


def test_a_key_that_becomes_stale_is_told_once(make, clock):
    """Falling behind is one event, however many passes see it; catching up makes the next one possible."""
    seen, failing = [], [False]

    def fail(**_):
        if failing[0]:
            raise ValueError("down")

    orchestrator = make({"acme.a": collector(recording(Calls(), fail), options=ONE_DAY)})
    orchestrator.subscribe(lambda event: seen.append(event) if isinstance(event, events.KeyStale) else None)
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    failing[0] = True
    for _ in range(4):
        clock.advance(hours=7)
        orchestrator.run()
    assert [event.fresh_until for event in seen] == [clock.now - 28 * timedelta(hours=1)]


def test_a_stale_key_that_was_disconnected_is_forgotten(make, clock):
    """What is remembered of stale keys does not grow with sources that are gone; one that comes back is told anew."""
    seen, failing = [], [False]

    def fail(**_):
        if failing[0]:
            raise ValueError("down")

    orchestrator = make({"acme.a": collector(recording(Calls(), fail), options=ONE_DAY)})
    orchestrator.subscribe(lambda event: seen.append(event) if isinstance(event, events.KeyStale) else None)
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    failing[0] = True
    for change in (
        None,
        lambda: orchestrator.disconnect("t1", "acme"),
        lambda: orchestrator.configure("t1", "acme", {}),
    ):
        clock.advance(hours=7)
        if change:
            change()
        orchestrator.run()
    assert len(seen) == 2
