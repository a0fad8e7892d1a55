"""What a rate limit, refused credentials and a wrong configuration lead to."""

from datetime import timedelta

import pytest
from acme_tracker import source
from acme_tracker.schema import COMMIT, REPOSITORY
from conftest import NOW
from fake_tracker import ADMITTED, FakeTracker
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session
from test_windows import HISTORY_START, column, coverage
from werkzeug import Request, Response

from tenantcollect import ConfigurationError, Orchestrator
from tenantcollect.testing import VirtualClock


def test_a_rate_limit_in_mid_window_goes_on_where_it_stopped(
    orchestrator: Orchestrator, tracker: FakeTracker, clock: VirtualClock, database_url: str
) -> None:
    """The pages that were paid for are not fetched again, and no commit is missing."""
    tracker.fail = lambda request: _limited(request, "page", "2", "web")
    report = orchestrator.run()
    assert (report.windows.failed, report.windows.waiting > 0, report.needs_action) == (0, True, False)
    [row] = orchestrator.status("acme", "tracker", "commit")
    assert (row.reason, row.failures) == ("rate_limited", 0)
    before = column(database_url, COMMIT.c.sha)
    assert before

    tracker.fail = None
    clock.advance(timedelta(minutes=3))
    orchestrator.run()
    assert coverage(orchestrator, "commit") == [(HISTORY_START, NOW)]
    assert column(database_url, COMMIT.c.sha) == tracker.shas(HISTORY_START, NOW)
    pages = [request for request in tracker.requests if "/commits?" in request]
    assert len(pages) == len(set(pages))


def test_refused_credentials_hold_until_they_are_replaced(orchestrator: Orchestrator, tracker: FakeTracker) -> None:
    """One request says it, no other is made, and a new token cures it."""
    orchestrator.configure("acme", "tracker", {"TRACKER_TOKEN": "a-token-that-was-revoked"})
    assert orchestrator.run().needs_action
    assert not tracker.requests
    [row] = orchestrator.explain("acme", "tracker", "team")
    assert row.reason == "auth_failed"
    assert "config set acme tracker" in row.action
    [row] = orchestrator.explain("acme", "tracker", "commit")
    assert row.root_cause.startswith("tracker.team: auth_failed")

    orchestrator.configure("acme", "tracker", {"TRACKER_TOKEN": ADMITTED})
    assert not orchestrator.run(max_windows=5).needs_action
    [row] = orchestrator.status("acme", "tracker", "team")
    assert row.status == "COMPLETED"


def test_a_wrong_setting_is_named_and_not_stored(orchestrator: Orchestrator) -> None:
    """The key is named, its value never is."""
    with pytest.raises(ConfigurationError) as refused:
        orchestrator.configure("globex", "tracker", {"TRACKER_TOKEN": "short", "TRACKER_URL": "tracker"})
    assert set(refused.value.fields) == {"TRACKER_TOKEN", "TRACKER_URL"}
    assert "short" not in str(refused.value)
    assert not orchestrator.config("globex", "tracker")


def test_check_says_what_the_token_sees(orchestrator: Orchestrator, tracker: FakeTracker) -> None:
    """A good token names the organization, a bad one is refused."""
    [row] = orchestrator.check("acme")
    assert (row.ok, row.detail) == (True, "connected to Acme")
    bad = {"TRACKER_TOKEN": "a-token-that-was-revoked", "TRACKER_URL": tracker.url}
    orchestrator.configure("globex", "tracker", bad)
    [row] = orchestrator.check("globex")
    assert (row.ok, row.reason) == (False, "auth_failed")
    assert "revoked" not in row.detail


def test_the_entry_points_load(orchestrator: Orchestrator) -> None:
    """All three scripts are found under the name of this package, without a problem."""
    rows = {row.name: row for row in orchestrator.plugins() if row.package == "acme-tracker"}
    assert set(rows) >= {"tracker.team", "tracker.repository", "tracker.commit"}
    assert not [row.error for row in rows.values() if row.error]
    assert orchestrator.config_schema("tracker")["properties"]["TRACKER_TOKEN"]["writeOnly"]


def test_erase_deletes_one_tenant_only(orchestrator: Orchestrator, tracker: FakeTracker, database_url: str) -> None:
    """The rows of another tenant stay."""
    env = {"TRACKER_TOKEN": ADMITTED, "TRACKER_URL": tracker.url}
    orchestrator.configure("globex", "tracker", env)
    for tenant_id in ("acme", "globex"):
        orchestrator.run(tenant_id, max_windows=5)
    engine = create_engine(database_url)
    with Session(engine) as db, db.begin():
        source.erase(db, "acme")
        left = db.execute(select(REPOSITORY.c.tenant_id, func.count()).group_by(REPOSITORY.c.tenant_id)).all()
    engine.dispose()
    assert [tenant_id for tenant_id, _ in left] == ["globex"]


def _limited(request: Request, query: str, value: str, repository: str) -> Response | None:
    if f"/{repository}/commits" in request.path and request.args[query] == value:
        return Response("slow down", status=429, headers={"Retry-After": "120"})
    return None
