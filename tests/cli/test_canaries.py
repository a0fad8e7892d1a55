"""G6: every output of every command, on a database that has been leaked into."""

import subprocess
import sys
from pathlib import Path

from tests.canaries import UNDECLARED, leaks
from tests.cli.conftest import environment

ROOT = Path(__file__).parents[2]
COMMANDS = """
import sys
from tenantcollect.cli import main

for command in ("run", "status", "explain", "history", "check", "plan", "plugins", "config list", "config rotate-keys"):
    for json in ([], ["--json"]):
        code = main(["--app", "tests.canaries:build", *command.split(), *json])
        print("ended with", code, command, flush=True)
        assert code in (0, 3) or command == "config rotate-keys"
main(["--app", "tests.canaries:build", "config", "set", "t1", "of_pydantic", "TYPED=x", "DECLARRED=-"])
main(["--app", "tests.canaries:build", "config", "set", "t1", "nosuch", "DECLARED=-"])
"""


def test_g6_no_command_shows_a_secret(tmp_path: Path) -> None:
    """Tables, JSON, logs and errors."""
    ended = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT)),
        input=UNDECLARED.encode(),
        capture_output=True,
        timeout=110,
        check=False,
    )
    told = ended.stdout.decode() + ended.stderr.decode()
    assert ended.returncode == 0, told[-3000:]
    assert told.count("ended with") == 18
    assert "of_pydantic" in told
    assert leaks(told) == []
