"""``doctor`` in surroundings that only real servers make."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from tenantcollect import connect
from tenantcollect.reports import FindingRow, Severity
from tests.acceptance.storm.server import NoServer, Server, running


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of our own, with our tables."""
    try:
        with tempfile.TemporaryDirectory(prefix="tc-") as folder, running(Path(folder)) as server:
            with connect(server.url()) as orchestrator:
                orchestrator.upgrade()
            yield server
    except NoServer as reason:
        pytest.skip(str(reason))


def examined(url: URL) -> dict[str, FindingRow]:
    """The last finding of each topic."""
    with connect(url) as orchestrator:
        return {row.topic: row for row in orchestrator.doctor()}


def test_a_standby_is_unusable(server: Server) -> None:
    """A server that replays another's changes can be read, and no pass could claim anything there."""
    assert examined(server.url())["schema"].severity is Severity.OK
    server.stop()
    server.follow()
    server.start()
    row = examined(server.url())["database"]
    assert (row.severity, "standby" in row.detail, "primary" in (row.action or "")) == (Severity.UNUSABLE, True, True)
