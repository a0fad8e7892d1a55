"""check: what a data source's own hook does to it."""

import signal
import subprocess
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
        ("HUB_LEAVES", "the check of acme/hub ended the process (exit code 0)"),
    ],
)
def test_a_check_that_no_thread_can_watch_is_told_in_time(hub: Command, does: str, said: str) -> None:
    """A regular expression that keeps the interpreter to itself; ``os._exit(0)``, which would pass for success."""
    ended = hub("check", "--check-timeout", "0.2", **{does: "acme"})
    assert (ended.code, ended.out) == (3, "")
    assert said in ended.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_check_ends_at_the_first_signal(folder: Path, number: int, code: int) -> None:
    """Also one that nothing in its own process could end."""
    words = arguments("--app", "hub:build", "check", "--check-timeout", "60")
    with subprocess.Popen(words, cwd=folder, env=environment(HUB_SEIZES="acme")) as process:
        for _ in range(600):
            if (folder / "seized").exists():
                break
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(10) == code
