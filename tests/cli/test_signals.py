"""SIGINT and SIGTERM: the first is a wish, the second an order."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Command, arguments, environment


def _started(folder: Path, seconds: float) -> "subprocess.Popen[str]":
    """A running pass whose windows take ``seconds``."""
    running = subprocess.Popen(
        arguments("--app", "hub:build", "run", "--json", "--tenant", "acme"),
        cwd=folder,
        env=environment(HUB_SECONDS=str(seconds)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        if (folder / "started").exists():
            return running
        time.sleep(0.05)
    running.kill()
    raise AssertionError("the pass did not begin")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_open_windows_finish(folder: Path, number: signal.Signals) -> None:
    """A stopped pass seals the window it has begun, claims no other, and reports."""
    running = _started(folder, 1)
    running.send_signal(number)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 0
    assert json.loads(out)["windows"]["completed"] == 1
    assert "stopping" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_second_signal_ends_at_once(folder: Path, number: signal.Signals, code: int) -> None:
    """Who asks twice does not wait for a window that hangs."""
    running = _started(folder, 300)
    assert running.stderr is not None
    running.send_signal(number)
    assert any("stopping" in line for line in iter(running.stderr.readline, ""))
    running.send_signal(number)
    running.communicate(timeout=10)
    assert running.returncode == code


def test_a_signal_before_the_pass_has_begun_counts(tenantcollect: Command) -> None:
    """Whoever is too early need not come again: the pass ends as soon as it can, and is no failure."""
    ended = tenantcollect("--app", "hub:hasty", "run", "--json", HUB_SECONDS="1")
    assert ended.code == 0
    assert ended.json["windows"]["completed"] <= 2
    assert "stopping" in ended.err
