import subprocess
import sys

import pytest

from tests.cli.conftest import Command, environment

HEAVY = ("sqlalchemy", "pydantic", "rich", "alembic", "attrs", "pluggy", "psycopg")
COMMANDS = [
    *("demo", "plugins", "plan", "run", "status", "history", "explain", "check"),
    *("db upgrade", "db current", "db sql", "config set", "config list", "config unset", "config import"),
    *("trigger", "pause", "resume", "backfill", "replay"),
]


def test_help_imports_nothing_heavy() -> None:
    """``--help`` costs about what typer costs: nothing that a command needs is imported for it."""
    program = (
        "import sys\n"
        "from tenantcollect.cli import main\n"
        "code = main(['--help'])\n"
        f"print('loaded:', [name for name in {HEAVY} if name in sys.modules], code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "loaded: [] 0"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(tenantcollect: Command, command: str) -> None:
    """Every command explains itself, and can print JSON."""
    told = tenantcollect(*command.split(), "--help")
    assert told.code == 0
    assert "--json" in told.out


@pytest.mark.parametrize("command", ["trigger", "pause", "resume", "backfill", "replay", "config set"])
def test_what_changes_anything_has_a_dry_run(tenantcollect: Command, command: str) -> None:
    """A command that changes something can say beforehand what it would change."""
    assert "--dry-run" in tenantcollect(*command.split(), "--help").out


def test_the_version_is_told(tenantcollect: Command) -> None:
    """``--version`` tells the version, and nothing else."""
    told = tenantcollect("--version")
    assert (told.code, told.out.split()[0]) == (0, "tenantcollect")
