"""``doctor`` in surroundings that only real servers make."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import URL

from tenantcollect import connect
from tenantcollect.reports import FindingRow, Severity
from tests.acceptance.storm.pooler import pooling
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


@pytest.fixture
def through(server: Server) -> Iterator[Callable[[str], URL]]:
    """The same database through a pooler that shares connections so."""
    with ExitStack() as stack:

        def pooled(mode: str) -> URL:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tc-")))
            folder.chmod(0o755)
            return server.url(stack.enter_context(pooling(server, folder, mode)))

        yield pooled


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


@pytest.mark.parametrize(
    ("mode", "threshold", "topic", "severity", "told"),
    [
        ("session", "5", "pooler", Severity.OK, "a server process of its own"),
        ("transaction", "5", "pooler", Severity.PROBLEM, "prepare_threshold=none"),
        ("transaction", "none", "pooler", Severity.OK, "nothing is prepared"),
        ("statement", "none", "database", Severity.UNUSABLE, "pool_mode = transaction"),
    ],
)
def test_each_mode_of_a_pooler_is_known(
    through: Callable[[str], URL], mode: str, threshold: str, topic: str, severity: Severity, told: str
) -> None:
    """PgBouncer itself, by session, by transaction, and by statement, which leaves no transactions to work with."""
    try:
        url = through(mode)
    except NoServer as reason:
        pytest.skip(str(reason))
    row = examined(url.update_query_dict({"prepare_threshold": threshold}))[topic]
    assert (row.severity, told in f"{row.detail} {row.action}") == (severity, True)
