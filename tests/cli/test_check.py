"""check: what a data source's own hook does to it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Command, arguments, environment


def test_a_check_that_hangs_is_told_and_ends(hub: Command) -> None:
    """``check --check-timeout``: the tenant whose source does not answer is named; the other is checked."""
    ended = hub("check", "--json", "--check-timeout", "0.5", HUB_HANGS="acme")
    assert ended.code == 3
    told = {row["tenant_id"]: (row["ok"], "no answer within 0.5 s" in row["detail"]) for row in ended.rows}
    assert told == {"acme": (False, True), "globex": (True, False)}


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("HUB_SEIZES", "the check of acme/hub did not end within 0.2 s, and could not be interrupted"),
        ("HUB_CLOSES", "the check of acme/hub did not end within 0.2 s, and could not be interrupted"),
        ("HUB_LEAVES", "the check of acme/hub ended the process (exit code 0)"),
    ],
)
def test_a_check_that_no_thread_can_watch_costs_its_own_answer(hub: Command, does: str, said: str) -> None:
    """A regular expression or C code that keeps the interpreter to itself, the latter without a file to speak by;
    ``os._exit(0)``, which would pass for success. The other tenant is answered.
    """
    ended = hub("check", "--json", "--check-timeout", "0.2", **{does: "acme"})
    assert ended.code == 3
    lost, other = sorted(ended.rows, key=lambda row: str(row["tenant_id"]))
    assert (lost["tenant_id"], lost["ok"], lost["reason"]) == ("acme", False, "backoff")
    assert lost["detail"].startswith(said)
    assert lost["action"]
    assert (other["tenant_id"], other["ok"], other["detail"]) == ("globex", True, "welcome ***")


def test_every_check_may_be_the_last_of_its_process(hub: Command) -> None:
    """Each is answered once, in the order of the sources, and nothing is printed twice."""
    ended = hub("check", "--json", "--check-timeout", "0.2", HUB_LEAVES="acme", HUB_CLOSES="globex")
    assert ended.code == 3
    assert [(row["tenant_id"], row["ok"]) for row in ended.rows] == [("acme", False), ("globex", False)]
    shown = hub("check", HUB_LEAVES="acme")
    assert (shown.code, shown.out.count("check · "), shown.out.count("welcome")) == (3, 1, 1)


@pytest.mark.parametrize("does", [{}, {"HUB_SEIZES": "acme"}, {"HUB_LEAVES": "acme"}])
def test_no_program_that_a_check_has_started_outlives_the_command(hub: Command, does: dict[str, str]) -> None:
    """It has the stderr of the command, whose reader would wait for it."""
    ended = hub("check", "--json", "--check-timeout", "0.2", HUB_STARTS="acme", **does)
    assert ended.code == (3 if does else 0)
    assert len(ended.rows) == 2


def test_an_app_that_ends_the_process_is_no_success(hub: Command) -> None:
    """``os._exit(0)`` while the orchestrator is built: there is no answer."""
    ended = hub("check", "--json", HUB_LEAVES="build")
    assert (ended.code, ended.out) == (3, "")
    assert "ended the process (exit code 0)" in ended.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_check_ends_at_the_first_signal(folder: Path, number: int, code: int) -> None:
    """Also one that nothing in its own process could end, with the programs that it has started."""
    words = arguments("--app", "hub:build", "check", "--check-timeout", "60")
    does = environment(HUB_SEIZES="acme", HUB_STARTS="acme")
    with subprocess.Popen(words, cwd=folder, env=does, stderr=subprocess.PIPE) as process:
        for _ in range(600):
            if (folder / "seized").exists():
                break
            time.sleep(0.05)
        process.send_signal(number)
        process.communicate(timeout=10)
        assert process.returncode == code


def test_a_caller_that_ignores_the_end_of_children_changes_nothing(folder: Path) -> None:
    """SIGCHLD stays ignored in what is started, and the system then keeps no exit code."""
    ignoring = "import os, sys; from signal import *; signal(SIGCHLD, SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    words = [sys.executable, "-c", ignoring, *arguments("--app", "hub:build", "check")]
    ended = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout.count(b"welcome"), ended.stderr) == (0, 2, b"")
