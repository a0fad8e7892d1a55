"""A collector's error whose own code raises."""

from datetime import timedelta

import pytest

from tenantcollect import AuthenticationError, CollectorOptions, RateLimited, TryLater

from .conftest import collector

ONE_DAY = CollectorOptions(initial_range=timedelta(days=1))


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
        (Moody(), "collector_broken"),
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
