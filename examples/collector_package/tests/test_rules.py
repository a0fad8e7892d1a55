"""What every collector must hold: the library's own suite, on the fictional tracker."""

from datetime import timedelta

import pytest
from acme_tracker import commit, repository, source, team
from conftest import NOW
from fake_tracker import ADMITTED, FakeTracker

from tenantcollect import Window
from tenantcollect.testing import CollectorSuite


class TestTracker(CollectorSuite):
    """A week in which all three scripts have something to collect."""

    collectors = {
        "tracker": source,
        "tracker.team": team,
        "tracker.repository": repository,
        "tracker.commit": commit,
    }
    window = Window(NOW - timedelta(days=7), NOW)
    dated = {"tracker_commit": "committed_at"}
    short = frozenset({"tracker.team"})

    @pytest.fixture
    def env(self, tracker: FakeTracker) -> dict[str, str]:
        """What a tenant would configure, with the address of the fake."""
        return {"TRACKER_TOKEN": ADMITTED, "TRACKER_URL": tracker.url}
