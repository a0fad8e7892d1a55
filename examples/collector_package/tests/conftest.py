"""A fictional tracker on a real port, and a real orchestrator on a real database."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_tracker import ADMITTED, FakeTracker, every
from pytest_httpserver import HTTPServer

import tenantcollect
from tenantcollect.testing import VirtualClock

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""When the tenant connects its tracker."""


@pytest.fixture
def clock() -> VirtualClock:
    """The time that planning uses, moved by hand."""
    return VirtualClock(NOW)


@pytest.fixture
def tracker(httpserver: HTTPServer) -> FakeTracker:
    """Three repositories of two teams, with a commit every six hours from 120 days ago to 60 days ahead."""
    fake = FakeTracker(httpserver.url_for("/v1"))
    begin, end = NOW - timedelta(days=120), NOW + timedelta(days=60)
    for number, (team, name) in enumerate([("core", "api"), ("core", "web"), ("tools", "cli")]):
        times = every(timedelta(hours=6), begin + timedelta(minutes=number), end)
        fake.add_repository(team, name, created_at=begin, commits=times)
    httpserver.expect_request(re.compile("/v1/.*")).respond_with_handler(fake.answer)
    return fake


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A SQLite database of this test."""
    return f"sqlite:///{tmp_path / 'acme.db'}"


@pytest.fixture
def orchestrator(database_url: str, clock: VirtualClock, tracker: FakeTracker) -> Iterator[tenantcollect.Orchestrator]:
    """The installed collectors, found by their entry points; the tenant ``acme`` is configured."""
    with tenantcollect.connect(database_url, clock=clock) as orchestrator:
        orchestrator.upgrade()
        env = {"TRACKER_TOKEN": ADMITTED, "TRACKER_URL": tracker.url}
        orchestrator.configure("acme", "tracker", env)
        yield orchestrator
