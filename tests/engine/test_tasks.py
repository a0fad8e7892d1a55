"""What leaves an async collector in a group of errors, as everything does that its tasks raise."""

import asyncio
from datetime import timedelta

import pytest

from tenantcollect import (
    AuthenticationError,
    CollectorOptions,
    ConfigurationError,
    RateLimited,
    TryLater,
    WindowTooLarge,
    hookimpl,
)

DAY = timedelta(days=1)
ONE_DAY = CollectorOptions(initial_range=DAY)


async def fail_beside(error):
    """A task of the collector's that fails, and one that would go on."""
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))
        group.create_task(failing(error))


async def failing(error):
    """A task that raises."""
    raise error


@pytest.mark.parametrize(
    ("error", "reason", "told"),
    [
        (AuthenticationError("401"), "auth_failed", "AuthenticationError: 401"),
        (RateLimited(60, "429"), "rate_limited", "RateLimited: 429"),
        (TryLater(60, "503"), "backoff", "TryLater: 503"),
        (ConfigurationError("no such org"), "config_invalid", "ConfigurationError: no such org"),
        (ExceptionGroup("", [ValueError("a bug"), RateLimited(60, "429")]), "rate_limited", "RateLimited: 429"),
        (ValueError("a bug"), "backoff", "ExceptionGroup: "),
    ],
)
def test_what_a_task_of_an_async_collector_says_should_happen_is_meant(make, error, reason, told):
    """It leaves run() in a group, always; the first error of ours in it says what it would say by itself."""

    class Together:
        @hookimpl
        def options(self):
            return ONE_DAY

        @hookimpl
        async def run(self):
            await fail_beside(error)

        @hookimpl
        async def check(self):
            await fail_beside(error)

    orchestrator = make({"acme.a": Together()})
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    [row], [check], [attempt] = orchestrator.explain(), orchestrator.check(), orchestrator.history()
    assert row.reason == reason
    assert attempt.error.startswith(told)
    assert check.detail.startswith(told)
    assert check.reason == {"rate_limited": "backoff"}.get(reason, reason)


def test_a_window_that_a_task_finds_too_large_is_halved(make):
    """As if no group were around it."""
    calls = []

    class Together:
        @hookimpl
        def options(self):
            return ONE_DAY

        @hookimpl
        async def run(self, start_date, end_date):
            calls.append(end_date - start_date)
            if end_date - start_date > timedelta(hours=12):
                await fail_beside(WindowTooLarge())

    orchestrator = make({"acme.a": Together()})
    orchestrator.configure("t1", "acme", {})
    assert orchestrator.run().windows.completed == 2
    assert calls == [DAY, DAY / 2, DAY / 2]


def test_a_token_that_a_task_finds_refused_is_resolved_anew(make):
    """By a window and by a check."""

    class Together:
        @hookimpl
        def options(self):
            return ONE_DAY

        @hookimpl
        async def run(self, env):
            await self.check(env)

        @hookimpl
        async def check(self, env):
            if env["TOKEN"] == "old":
                await fail_beside(AuthenticationError())

    tokens = iter(["old", "new", "old", "new"])
    orchestrator = make({"acme.a": Together()}, resolve_env=lambda *_: {"TOKEN": next(tokens)})
    orchestrator.configure("t1", "acme", {})
    assert orchestrator.run().windows.completed == 1
    assert [row.ok for row in orchestrator.check()] == [True]
