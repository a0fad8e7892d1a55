"""The real command, in a process and a folder of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

APPS = [Path(__file__).with_name(name) for name in ("hub.py", "crowd.py", "noisy.py")]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of a list."""
        return list(self.json["rows"])


Command = Callable[..., Ended]


def environment(**more: str) -> dict[str, str]:
    """The environment without our variables and without a terminal's width, and ``more``."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TENANTCOLLECT_", "COLUMNS"))}
    return {**kept, **more}


def arguments(*words: object) -> list[str]:
    """The command line of ``tenantcollect WORDS``; as in the installed script, the folder is not on the path."""
    return [sys.executable, "-P", "-m", "tenantcollect", *map(str, words)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder the commands run in; the host's apps beside this file are there too."""
    for app in APPS:
        shutil.copy(app, tmp_path)
    return tmp_path


@pytest.fixture
def tenantcollect(folder: Path) -> Command:
    """Runs ``tenantcollect WORDS`` in the folder; keywords are environment variables."""

    def run(*words: object, stdin: str | bytes = b"", **env: str) -> Ended:
        done = subprocess.run(
            arguments(*words),
            cwd=folder,
            env=environment(**env),
            input=stdin if isinstance(stdin, bytes) else stdin.encode(),
            capture_output=True,
            timeout=110,
            check=False,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def hub(tenantcollect: Command) -> Command:
    """Runs a command against the app in ``hub.py``."""

    def run(*words: object, **more: Any) -> Ended:
        return tenantcollect("--app", "hub:build", *words, **more)

    return run
