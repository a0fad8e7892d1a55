"""Subscribers: each hears everything, none hurts another."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tenantcollect.events import Event, Events, PassFinished, PassStarted

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STARTED = PassStarted(at=NOW)


def test_every_subscriber_hears_every_event_in_order() -> None:
    """From the moment it subscribed, in the order of events."""
    events, first, second = Events(), list[Event](), list[Event]()
    finished = PassFinished(at=NOW, completed=1, failed=0)
    events.subscribe(first.append)
    events.emit(STARTED)
    events.subscribe(second.append)
    events.emit(finished)
    assert (first, second) == ([STARTED, finished], [finished])


def test_g10_a_subscriber_that_raises_is_logged_and_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The others are called, the engine goes on, and the log says what happened."""
    events, heard = Events(), list[Event]()

    def broken(event: Event) -> None:
        raise RuntimeError("no room")

    events.subscribe(broken)
    events.subscribe(heard.append)
    with caplog.at_level(logging.ERROR, "tenantcollect.events"):
        events.emit(STARTED)
    assert heard == [STARTED]
    assert "a subscriber failed on PassStarted" in caplog.text
    assert "no room" in caplog.text


def test_an_interrupt_is_not_swallowed() -> None:
    """Ctrl-C in a subscriber still ends the program."""
    events = Events()

    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    events.subscribe(interrupt)
    with pytest.raises(KeyboardInterrupt):
        events.emit(STARTED)


def test_the_way_out_ends_one_subscription_and_may_be_taken_twice() -> None:
    """Also of two subscriptions of the same function only its own."""
    events, heard = Events(), list[Event]()
    leave = events.subscribe(heard.append)
    events.subscribe(heard.append)
    leave()
    leave()
    events.emit(STARTED)
    assert heard == [STARTED]


def test_a_subscriber_may_leave_or_subscribe_while_it_is_called() -> None:
    """What it changes holds from the next event on; nothing waits for itself."""
    events, heard = Events(), list[Event]()

    def once(event: Event) -> None:
        leave()
        events.subscribe(heard.append)

    leave = events.subscribe(once)
    events.emit(STARTED)
    assert heard == []
    events.emit(STARTED)
    assert heard == [STARTED]


def fail_in_a_chain() -> None:
    """Its cause was raised while something else was being handled."""
    try:
        raise KeyError("no such room")
    except KeyError as error:
        raise RuntimeError("no room") from error


def fail_in_passing() -> None:
    """While another error is being handled."""
    try:
        raise KeyError("no such room")
    except KeyError:
        int("no room")


def fail_together() -> None:
    """Several at once."""
    try:
        fail_in_a_chain()
    except RuntimeError as error:
        raise ExceptionGroup("no such room", [error]) from None


@pytest.mark.parametrize("fail", [fail_in_a_chain, fail_in_passing, fail_together])
def test_g6_what_was_being_handled_when_a_subscriber_failed_is_not_logged_with_it(
    fail: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    """It may be a collector's error, which nobody masked; of the subscriber's own errors nothing is left out."""
    events = Events()
    events.subscribe(lambda event: fail())
    try:
        raise ValueError("hunter2!")
    except ValueError:
        events.emit(STARTED)
    assert "hunter2!" not in caplog.text
    assert "no room" in caplog.text
    assert "no such room" in caplog.text
