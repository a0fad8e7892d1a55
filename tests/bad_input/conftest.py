"""A database with a good tenant beside a bad one, and the command line in this very process."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from tenantcollect import Orchestrator, connect
from tenantcollect.cli import main
from tests.bad_input.hub import COLLECTORS, DATABASE, SECRET, VALUE
from tests.cli import conftest as cli
from tests.unit.conftest import packages

__all__ = ["packages"]

NEVER_SHOWN = (
    SECRET,
    SECRET[:8],
    VALUE,
    "Traceback",
    "sqlite3.",
    "psycopg.",
    "sqlalchemy.",
    "hunter2",
    "\x1b",
    "\u202e",
)


class Ended(cli.Ended):
    """How a command ended, and what it must not show."""

    def assert_refused(self, code: int, *names: str) -> None:
        """Assert the documented exit code, and a short message on stderr that names what is wrong and no more."""
        assert self.code == code, self.err
        assert all(name in self.err for name in names), self.err
        assert len(self.err) < 2000
        assert not self.out or json.loads(self.out)
        self.assert_shows_nothing()

    def assert_shows_nothing(self) -> None:
        """Assert that neither stream shows a secret, a row, a driver or a traceback, or drives the terminal."""
        assert [shown for shown in NEVER_SHOWN if shown in self.out + self.err] == []


Command = Callable[..., Ended]
BOTH = pytest.mark.parametrize("url", ["sqlite_hub", "postgresql_hub"], indirect=True)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables."""
    file = tmp_path_factory.mktemp("bad_input") / "template.db"
    with connect(f"sqlite:///{file}", collectors=COLLECTORS) as orchestrator:
        orchestrator.upgrade()
    return file


@pytest.fixture
def sqlite_hub(template: Path, sqlite_url: str) -> str:
    """A fresh SQLite database with all tables."""
    shutil.copy(template, sqlite_url.removeprefix("sqlite:///"))
    return sqlite_url


@pytest.fixture
def postgresql_hub(postgresql_url: str) -> str:
    """A fresh PostgreSQL database with all tables."""
    with connect(postgresql_url, collectors=COLLECTORS) as orchestrator:
        orchestrator.upgrade()
    return postgresql_url


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """The database of the test: SQLite, unless it is marked with ``BOTH``."""
    return str(request.getfixturevalue(getattr(request, "param", "sqlite_hub")))


@pytest.fixture
def hub(url: str) -> Iterator[Orchestrator]:
    """The orchestrator of the app, with its good tenant."""
    with connect(url, collectors=COLLECTORS) as orchestrator:
        orchestrator.configure("good", "hub", {})
        yield orchestrator


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Runs ``tenantcollect WORDS`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TENANTCOLLECT_")]:
        monkeypatch.delenv(name)
    logger = logging.getLogger("tenantcollect")
    handlers = list(logger.handlers)

    def run(*words: object, stdin: str = "", **env: str) -> Ended:
        capsys.readouterr()
        with monkeypatch.context() as changed:
            changed.setattr("sys.stdin", TextIOWrapper(BytesIO(stdin.encode())))
            for name, value in env.items():
                changed.setenv(name, value)
            code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    yield run
    logger.handlers[:] = handlers


@pytest.fixture
def app(command: Command, url: str) -> Command:
    """Runs a command against the app, which has a good tenant."""

    def run(*words: object, build: str = "build", **more: str) -> Ended:
        return command("--app", f"tests.bad_input.hub:{build}", *words, **{DATABASE: url}, **more)

    assert run("config", "set", "good", "hub").code == 0
    return run
