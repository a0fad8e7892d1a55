"""The bundled collectors hold what every collector must hold."""

from datetime import UTC, datetime

import pytest

from tenantcollect import Window
from tenantcollect.sources.git import commit, contributor, repository, source
from tenantcollect.testing import CollectorSuite

DAY = 86_400


class TestGit(CollectorSuite):
    """All three scripts, over ten days of a repository with two branches and a tag."""

    collectors = {"git": source, "git.repository": repository, "git.commit": commit, "git.contributor": contributor}
    window = Window(datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 11, tzinfo=UTC))
    dated = {"git_commit": "committed_at"}

    @pytest.fixture
    def env(self, repository):
        """A clone with commits at, before and after midnight."""
        repository.many([0, 5, DAY - 1, DAY, DAY, DAY + 1, 3 * DAY, 2 * DAY, 7 * DAY])
        repository.many([4 * DAY, 5 * DAY], on="side")
        repository.git("tag", "v1", "main")
        return {"GIT_REPOSITORY": str(repository.path)}


class TestGitOnPostgresql(TestGit):
    """The same on PostgreSQL."""

    @pytest.fixture
    def database_url(self, postgresql_url):
        """A fresh database."""
        return postgresql_url
