"""The rules of a collector, one test each; a failure says what to do (floor: testing)."""

from tenantcollect.testing.disturbances import DisturbanceRules
from tenantcollect.testing.leaks import SecretRules
from tenantcollect.testing.soundness import CollectionRules
from tenantcollect.testing.tenants import TenantRules
from tenantcollect.testing.times import TimeRules

__all__ = ["CollectorSuite"]


class CollectorSuite(DisturbanceRules, SecretRules, TenantRules, TimeRules, CollectionRules):
    """Subclass it, name ``collectors`` and ``window``, and override the fixture ``env``::

        class TestGitHub(CollectorSuite):
            collectors = {"github": source, "github.commit": commit}
            window = Window(datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 8, tzinfo=UTC))
            dated = {"github_commit": "committed_at"}

            @pytest.fixture
            def env(self, fake_github):
                return {"GITHUB_TOKEN": "a-token-for-tests", "GITHUB_URL": fake_github.url}

    Each test runs once per script, on its own database, after the script's upstreams have been collected.
    """
