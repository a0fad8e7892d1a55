"""What is collected, window by window."""

from datetime import datetime, timedelta
from itertools import pairwise

from acme_tracker.schema import COMMIT, REPOSITORY, TEAM
from conftest import NOW
from fake_tracker import FakeTracker
from sqlalchemy import create_engine, select
from sqlalchemy.pool import NullPool
from werkzeug import Request, Response

from tenantcollect import Orchestrator
from tenantcollect.testing import VirtualClock

DAY = timedelta(days=1)
HISTORY_START = NOW - 90 * DAY


def windows(
    orchestrator: Orchestrator, script: str, since: datetime = HISTORY_START
) -> list[tuple[datetime, datetime]]:
    """The sealed windows of a script that end after ``since``, oldest first."""
    rows = orchestrator.history("acme", "tracker", script, limit=1000)
    return sorted(
        (row.window_start, row.window_end) for row in rows if row.status == "COMPLETED" and row.window_end > since
    )


def coverage(orchestrator: Orchestrator, script: str) -> list[tuple[datetime, datetime]]:
    """What is covered, as pieces."""
    [row] = orchestrator.status("acme", "tracker", script)
    return list(row.coverage)


def column(database_url: str, wanted: object) -> set[str]:
    """The values of one column of the tenant's rows; each row once."""
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.connect() as connection:
        values = list(connection.scalars(select(wanted)))
    assert len(values) == len(set(values))
    return set(values)


def test_the_first_run_covers_90_days_without_a_hole(
    orchestrator: Orchestrator, tracker: FakeTracker, database_url: str
) -> None:
    """One snapshot, 90 windows of 24 hours and 13 of at most 7 days, and every commit once."""
    report = orchestrator.run()
    assert report.windows.completed == 1 + 90 + 13
    assert not report.needs_action
    for script, count in {"team": 1, "repository": 90, "commit": 13}.items():
        found = windows(orchestrator, script)
        assert len(found) == count
        assert all(before[1] == after[0] for before, after in pairwise(found))
        assert coverage(orchestrator, script) == [(HISTORY_START, NOW)]
    assert column(database_url, TEAM.c.id) == {"core", "tools"}
    assert column(database_url, REPOSITORY.c.id) == {"api", "web", "cli"}
    assert column(database_url, COMMIT.c.sha) == tracker.shas(HISTORY_START, NOW)


def test_30_days_later_exactly_the_missing_windows_run(
    orchestrator: Orchestrator, tracker: FakeTracker, clock: VirtualClock, database_url: str
) -> None:
    """Nothing is due at once; a month later 30 days, four weeks and two days, and the snapshot again."""
    orchestrator.run()
    assert orchestrator.run().windows.completed == 0
    later = clock.advance(30 * DAY)
    orchestrator.run()
    assert windows(orchestrator, "repository", NOW) == [(NOW + n * DAY, NOW + (n + 1) * DAY) for n in range(30)]
    weeks = [(NOW + 7 * n * DAY, min(NOW + 7 * (n + 1) * DAY, later)) for n in range(5)]
    assert windows(orchestrator, "commit", NOW) == weeks
    assert windows(orchestrator, "team", NOW) == [(HISTORY_START, later)]
    assert column(database_url, COMMIT.c.sha) == tracker.shas(HISTORY_START, later)


def test_a_failure_in_window_10_keeps_the_nine_before(
    orchestrator: Orchestrator, tracker: FakeTracker, clock: VirtualClock, database_url: str
) -> None:
    """The tenth window is tried again later, and the rest follows; nothing is collected twice."""
    tenth = HISTORY_START + 63 * DAY
    tracker.fail = lambda request: _broken(request, "commits", "from", tenth)
    report = orchestrator.run()
    assert (report.windows.failed, report.needs_action) == (1, True)
    assert len(windows(orchestrator, "commit")) == 9
    assert coverage(orchestrator, "commit") == [(HISTORY_START, tenth)]
    assert column(database_url, COMMIT.c.sha) == tracker.shas(HISTORY_START, tenth)

    tracker.fail = None
    later = clock.advance(timedelta(hours=1))
    orchestrator.run()
    assert windows(orchestrator, "commit")[9][0] == tenth
    assert coverage(orchestrator, "commit") == [(HISTORY_START, later)]
    assert column(database_url, COMMIT.c.sha) == tracker.shas(HISTORY_START, later)


def test_commits_never_pass_the_repositories(
    orchestrator: Orchestrator, tracker: FakeTracker, clock: VirtualClock
) -> None:
    """While the repositories cannot go on, the commits go as far as they did, and say what they wait for."""
    tenth = HISTORY_START + 9 * DAY
    tracker.fail = lambda request: _broken(request, "repositories", "since", tenth)
    orchestrator.run()
    assert coverage(orchestrator, "repository") == [(HISTORY_START, tenth)]
    assert coverage(orchestrator, "commit") == [(HISTORY_START, tenth)]
    [row] = orchestrator.explain("acme", "tracker", "commit")
    assert row.reason == "waiting_for_upstream"
    assert "tracker.repository" in row.root_cause

    tracker.fail = None
    later = clock.advance(timedelta(hours=1))
    orchestrator.run()
    assert coverage(orchestrator, "commit") == [(HISTORY_START, later)]


def _broken(request: Request, path: str, date: str, start: datetime) -> Response | None:
    broken = request.path.endswith(path) and request.args[date] == start.isoformat()
    return Response("a broken disk", status=500) if broken else None
