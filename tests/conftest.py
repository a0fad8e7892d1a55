"""What all tests share: databases."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import URL

from tests.postgresql import fresh_database, running_server

# The machine's load is no property of the code.
hypothesis.settings.register_profile("tenantcollect", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tenantcollect")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[URL]:
    """The maintenance database of this process's PostgreSQL server."""
    with running_server() as url:
        yield url


@pytest.fixture
def postgresql_url(postgresql_server: URL) -> Iterator[str]:
    """A fresh, empty PostgreSQL database."""
    with fresh_database(postgresql_server) as url:
        yield url.render_as_string(hide_password=False)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite database whose file does not exist yet."""
    return f"sqlite:///{tmp_path / 'tenantcollect.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database; the test runs once per kind."""
    return request.getfixturevalue(f"{request.param}_url")
