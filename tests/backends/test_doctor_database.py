"""``doctor`` on the database itself: whether it is one, is new enough, and lets us write; each with what to do."""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tenantcollect.backends.sql import diagnosis
from tenantcollect.reports import FindingRow, Severity
from tests.backends.examining import connected, examined

NOBODY = 65534


@pytest.fixture
def file() -> Iterator[Path]:
    """A SQLite file with all tables, in a folder that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="tc-") as folder:
        Path(folder).chmod(0o755)
        file = Path(folder, "x.db")
        with connected(f"sqlite:///{file}") as orchestrator:
            orchestrator.upgrade()
        yield file
        Path(folder).chmod(0o755)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """As somebody whom the modes of files bind: they do not bind root."""
    privileged = os.geteuid() == 0
    if privileged:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if privileged:
            os.seteuid(0)


def database(url: object) -> FindingRow:
    """The only finding on the database."""
    [row] = examined(url)["database"]
    return row


@pytest.mark.parametrize("mode", [(0o444, 0o777), (0o666, 0o555), (0o444, 0o555), (0o000, 0o777)])
def test_a_file_that_cannot_be_written_is_unusable(file: Path, mode: tuple[int, int]) -> None:
    """The file, its folder or both may only be read by us, or not even that: a pass could not claim anything."""
    assert database(f"sqlite:///{file}").severity is Severity.OK
    file.chmod(mode[0])
    file.parent.chmod(mode[1])
    with ordinary_user():
        row = database(f"sqlite:///{file}")
    assert (row.severity, "may read and write" in (row.action or "")) == (Severity.UNUSABLE, True)


def test_a_url_that_only_reads_is_unusable(file: Path) -> None:
    """SQLite lets a connection that may only read begin a transaction that writes; it is found out all the same."""
    row = database(f"sqlite:///file:{file}?mode=ro&uri=true")
    assert (row.severity, "readonly" in row.detail) == (Severity.UNUSABLE, True)


def test_examining_changes_nothing_and_waits_for_nobody_for_long(file: Path) -> None:
    """The file is as before; while another process writes, it is known that one can."""
    before = file.read_bytes()
    assert database(f"sqlite:///{file}").severity is Severity.OK
    assert file.read_bytes() == before
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert database(f"sqlite:///{file}").severity is Severity.OK
    writer.close()


def _a_folder(path: Path) -> None:
    path.mkdir()


def _a_text(path: Path) -> None:
    path.write_text("no database at all " * 1000, encoding="utf-8")


@pytest.mark.parametrize("make", [_a_folder, _a_text])
def test_what_is_no_database_is_told_with_what_to_do(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A folder, and a file of another kind."""
    make(tmp_path / "x.db")
    row = database(f"sqlite:///{tmp_path / 'x.db'}")
    assert (row.severity, "path of a SQLite file" in (row.action or "")) == (Severity.UNUSABLE, True)


def test_a_path_in_no_folder_is_not_to_be_upgraded(tmp_path: Path) -> None:
    """``db upgrade`` would be refused."""
    row = database(f"sqlite:///{tmp_path / 'nowhere' / 'x.db'}")
    assert (row.severity, "db upgrade" in (row.action or "")) == (Severity.UNUSABLE, False)


def test_an_empty_file_is_none_and_stays_empty(tmp_path: Path) -> None:
    """As one that is not there: it is to be upgraded, and examining it writes nothing."""
    (tmp_path / "x.db").touch()
    assert database(f"sqlite:///{tmp_path / 'x.db'}").action == "run: tenantcollect db upgrade"
    assert (tmp_path / "x.db").stat().st_size == 0


def test_a_server_that_lets_us_only_read_is_unusable(collected_postgresql: str) -> None:
    """``default_transaction_read_only`` from wherever: claims could not be written."""
    url = make_url(collected_postgresql).update_query_dict({"options": "-c default_transaction_read_only=on"})
    row = database(url)
    assert (row.severity, "default_transaction_read_only" in (row.action or "")) == (Severity.UNUSABLE, True)


@pytest.mark.parametrize(("oldest", "newer"), [("OLDEST_SQLITE", (99, 0)), ("OLDEST_POSTGRESQL", 99)])
def test_a_database_that_is_too_old_is_unusable(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, oldest: str, newer: object
) -> None:
    """Older than what we need: said with the version that is there and the one to have."""
    fixture = "sqlite_url" if oldest == "OLDEST_SQLITE" else "postgresql_url"
    url = request.getfixturevalue(fixture)
    with connected(url) as orchestrator:
        orchestrator.upgrade()
    monkeypatch.setattr(diagnosis, oldest, newer)
    row = database(url)
    assert (row.severity, "99" in (row.action or "")) == (Severity.UNUSABLE, True)
