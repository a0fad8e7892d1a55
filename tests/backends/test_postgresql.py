"""PostgreSQL keeps the contracts."""

from collections.abc import Callable

import pytest
from sqlalchemy import URL

from tenantcollect.testing import EffectivelyOnceSuite, LocksSuite, PostgresqlHarness, StateSuite


class OnPostgreSQL:
    harness_class = PostgresqlHarness

    @pytest.fixture
    def make_harness(self, migrated_postgresql: URL) -> Callable[[], PostgresqlHarness]:
        return lambda: PostgresqlHarness(migrated_postgresql)


class TestLocks(OnPostgreSQL, LocksSuite):
    pass


class TestState(OnPostgreSQL, StateSuite):
    pass


class TestEffectivelyOnce(OnPostgreSQL, EffectivelyOnceSuite):
    pass
