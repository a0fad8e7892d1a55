"""The first run, against a small HTTP server; the tutorial shows this file."""

from datetime import UTC, datetime
from pathlib import Path

from acme_tracker import commit, repository, source, team
from pytest_httpserver import HTTPServer

import tenantcollect
from tenantcollect.testing import VirtualClock

NOW = datetime(2026, 6, 1, tzinfo=UTC)
COLLECTORS = {
    "tracker": source,
    "tracker.team": team,
    "tracker.repository": repository,
    "tracker.commit": commit,
}
WEB = {
    "id": "web",
    "name": "web",
    "created_at": "2025-01-01T00:00:00Z",
    "updated_at": "2026-05-31T00:00:00Z",
}


def test_the_first_run_covers_90_days(httpserver: HTTPServer, tmp_path: Path) -> None:
    """One snapshot, 90 windows of 24 hours, 13 of at most 7 days, no hole."""
    teams = {"items": [{"id": "core", "name": "Core"}]}
    httpserver.expect_request("/v1/teams").respond_with_json(teams)
    repositories = {"items": [WEB], "next_page": None}
    httpserver.expect_request("/v1/teams/core/repositories").respond_with_json(repositories)
    commits = {"items": [], "next_page": None}
    httpserver.expect_request("/v1/repositories/web/commits").respond_with_json(commits)

    url = f"sqlite:///{tmp_path / 'test.db'}"
    env = {"TRACKER_TOKEN": "a-token-for-tests", "TRACKER_URL": httpserver.url_for("/v1")}
    with tenantcollect.connect(url, collectors=COLLECTORS, clock=VirtualClock(NOW)) as orchestrator:
        orchestrator.upgrade()
        orchestrator.configure("acme", "tracker", env)
        report = orchestrator.run()
        rows = list(orchestrator.status("acme"))

    assert report.windows.completed == 1 + 90 + 13
    assert all(row.fresh_until == NOW and not row.holes for row in rows)
