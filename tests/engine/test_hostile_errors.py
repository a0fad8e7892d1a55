"""G4 and G8: an error whose own code misbehaves costs its window, as any other, and is stored as an attempt."""

import threading
import weakref
from concurrent.futures import Executor, Future
from datetime import timedelta

import pytest

from tenantcollect import AuthenticationError, CollectorOptions, RateLimited, TryLater, WindowFailed
from tests.engine.conftest import Calls, collector, recording

ONE_DAY = CollectorOptions(initial_range=timedelta(days=1))
SOON = CollectorOptions(initial_range=timedelta(days=1), window_timeout=timedelta(seconds=0.2))


class Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit("from __str__")


class Interrupts(BaseException):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class NoText(Exception):
    def __str__(self) -> str:
        return b"no text"  # type: ignore[return-value]  # noqa: PLE0307


class Attributes(Exception):
    def __getattr__(self, name: str) -> object:
        raise KeyboardInterrupt(name)


class Unnamed(type):
    def __getattribute__(cls, name: str) -> object:
        if name in ("__name__", "__module__"):
            raise RuntimeError("it has no name")
        return super().__getattribute__(name)


class Nameless(Exception, metaclass=Unnamed):
    pass


HOSTILE = {
    Exits: "Exits: (its message cannot be written)",
    Interrupts: "Interrupts: (its message cannot be written)",
    NoText: "NoText: (its message cannot be written)",
    Attributes: "Attributes",
    Nameless: "Nameless: (its message cannot be written)",
}


def failing_for(tenant: str, error: BaseException):
    """A ``run`` that raises ``error`` for one tenant."""

    def fail(tenant_id, **_):
        if tenant_id == tenant:
            raise error

    return recording(Calls(), fail)


@pytest.mark.parametrize("kind", HOSTILE, ids=range(len(HOSTILE)))
def test_g8_an_error_that_cannot_be_written_is_stored_by_its_class(make, kind):
    """The pass ends, the others complete, and the attempt is there, with a time to try again."""
    orchestrator = make({"acme.a": collector(failing_for("t1", kind()), options=ONE_DAY)}, concurrency=1)
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {})
    report = orchestrator.run()
    assert (report.error, report.windows.completed, report.windows.failed) == (None, 1, 1)
    [attempt] = orchestrator.history("t1")
    assert (attempt.status, attempt.reason) == ("FAILED", "backoff")
    assert attempt.error.splitlines()[0] == HOSTILE[kind]
    [row] = orchestrator.status("t1")
    assert (row.status, row.failures) == ("FAILED", 1)


class Mute(Exception):
    def __str__(self):
        raise SystemExit(0)


class Moody(Exception):
    def __getattribute__(self, name):
        if name in ("orig", "sqlstate", "until"):
            raise RuntimeError("not today")
        return super().__getattribute__(name)


class Endless(RateLimited):
    def until(self, now):
        raise ZeroDivisionError("no end of it")


class Odd:
    def __float__(self):
        raise ZeroDivisionError("neither a number")

    def __str__(self):
        raise ZeroDivisionError("nor a text")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Mute(), "backoff"),
        (Moody(), "backoff"),
        (Endless(5), "collector_broken"),
        (TryLater(Odd()), "collector_broken"),
        (AuthenticationError(Mute()), "auth_failed"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_g8_an_error_that_cannot_be_told_leaves_its_history_row(make, error, reason):
    """The window has failed, like any other: it is stored and told, and other tenants go on."""

    def run(tenant_id):
        if tenant_id == "bad":
            raise error

    orchestrator = make({"acme.a": collector(run, options=ONE_DAY)})
    orchestrator.configure("bad", "acme", {})
    orchestrator.configure("good", "acme", {})
    report = orchestrator.run()
    assert (report.error, report.windows.completed) == (None, 1)
    [row] = orchestrator.history("bad")
    assert (row.status, row.reason) == ("FAILED", reason)
    assert type(error).__name__ in row.error
    [row] = orchestrator.explain("bad")
    assert row.reason == reason


def test_g8_an_error_that_cannot_be_judged_lays_it_to_its_collector(make):
    """One that is to say when to try again, and does not, is put off as others are."""

    class Later(TryLater):
        def until(self, now):
            raise KeyboardInterrupt

    orchestrator = make({"acme.a": collector(failing_for("t1", Later(message="not now")), options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {})
    assert orchestrator.run().windows.failed == 1
    [attempt] = orchestrator.history()
    assert (attempt.status, attempt.reason) == ("FAILED", "collector_broken")
    assert "Later: not now" in attempt.error


def test_g4_an_error_whose_text_hangs_is_given_up_with_its_window(make):
    """What is stored is written before the turn's end is claimed: whoever gives it up comes first."""
    go_on = threading.Event()

    class Hangs(Exception):
        def __str__(self) -> str:
            go_on.wait(60)
            return "at last"

    orchestrator = make({"acme.a": collector(failing_for("t1", Hangs()), options=SOON)}, concurrency=1)
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {})
    try:
        report = orchestrator.run()
    finally:
        go_on.set()
    assert (report.windows.completed, report.windows.failed) == (1, 1)
    [attempt] = orchestrator.history("t1")
    assert "WindowTimedOut" in attempt.error


def test_g4_an_executor_that_loses_a_turn_to_whatever_was_raised_ends_it_as_failed(make):
    """What leaves a host's executor is an error of that window, also what ends a program elsewhere."""

    class Loses(Executor):
        def submit(self, fn, /, *args, **kwargs):
            future: Future = Future()
            future.set_exception(SystemExit("from the executor"))
            return future

    orchestrator = make({"acme.a": collector(recording(Calls()), options=ONE_DAY)}, executor=Loses())
    orchestrator.configure("t1", "acme", {})
    assert orchestrator.run().windows.failed == 1
    [attempt] = orchestrator.history()
    assert "SystemExit: from the executor" in attempt.error


def test_what_a_failed_window_held_is_let_go_before_it_is_stored(make):
    """It may be all the memory there is: neither the error nor what led to it keeps the collector's data."""

    class Page:
        pass

    pages, alive = [], []

    def fail(**_):
        page = Page()
        pages.append(weakref.ref(page))
        try:
            raise ValueError(page is None)
        except ValueError as error:
            raise MemoryError from error

    orchestrator = make({"acme.a": collector(recording(Calls(), fail), options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {})
    orchestrator.subscribe(lambda event: alive.append(pages[0]()) if isinstance(event, WindowFailed) else None)
    orchestrator.run()
    assert alive == [None]


@pytest.mark.parametrize(("records", "words"), [(2**63, "a number beyond 2**63"), (-1, "a negative number")])
def test_a_number_of_records_that_cannot_be_stored_is_refused(make, records, words):
    """The collector is told, instead of a database that fails."""
    orchestrator = make({"acme.a": collector(lambda: records, options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {})
    assert orchestrator.run().error is None
    [row] = orchestrator.status()
    assert row.reason == "collector_broken"
    assert words in row.error
