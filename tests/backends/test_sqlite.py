"""SQLite keeps the contracts."""

from collections.abc import Callable

import pytest
from sqlalchemy import URL

from tenantcollect.testing import EffectivelyOnceSuite, LocksSuite, SqliteHarness, StateSuite


class OnSQLite:
    harness_class = SqliteHarness

    @pytest.fixture
    def make_harness(self, migrated_sqlite: URL) -> Callable[[], SqliteHarness]:
        return lambda: SqliteHarness(migrated_sqlite)


class TestLocks(OnSQLite, LocksSuite):
    pass


class TestState(OnSQLite, StateSuite):
    pass


class TestEffectivelyOnce(OnSQLite, EffectivelyOnceSuite):
    pass
