"""The executor by itself: which child runs what, and what becomes of one that dies (G4)."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tenantcollect.contrib.processes import Processes
from tenantcollect.errors import ChildDied
from tests.processes import deeds

PATIENCE = 60


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    """Children that find the tests' own modules; all of them are ended with the test."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    executor = Processes()
    yield executor
    executor.shutdown(cancel_futures=True)


def test_a_child_is_reused_until_it_is_spoiled(executor: Processes, tmp_path: Path) -> None:
    """A window that leaves a thread, or no folder to stand in, gets its result, and the next one a new child."""
    first = executor.submit(deeds.process).result(PATIENCE)
    assert executor.submit(deeds.leave_thread).result(PATIENCE) == first
    second = executor.submit(deeds.leave_folder, str(tmp_path / "gone")).result(PATIENCE)
    assert second != first
    assert executor.submit(deeds.process).result(PATIENCE) not in (first, second)


def test_a_child_serves_so_many_windows_and_no_more(executor: Processes) -> None:
    """What leaks slowly ends with the process."""
    short = Processes(max_windows=2)
    with short:
        pids = [short.submit(deeds.process).result(PATIENCE) for _ in range(3)]
    assert pids[0] == pids[1] != pids[2]


def test_what_a_window_leaves_to_happen_later_does_not_happen_to_the_next(executor: Processes) -> None:
    """An alarm that one tenant set kills no window of another."""
    first = executor.submit(deeds.leave_alarm).result(PATIENCE)
    time.sleep(0.4)  # longer than the alarm
    assert executor.submit(deeds.process).result(PATIENCE) == first


def test_a_child_that_died_while_it_was_idle_costs_nobody_a_window(executor: Processes) -> None:
    """The kernel prefers idle children when memory is short: the next window just gets another one."""
    first = executor.submit(deeds.process).result(PATIENCE)
    os.kill(first, signal.SIGKILL)
    at_once = executor.submit(deeds.process).result(PATIENCE)
    os.kill(at_once, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(at_once)] if psutil.pid_exists(at_once) else [], timeout=5)
    time.sleep(0.5)  # the pool has noticed by now
    assert executor.submit(deeds.process).result(PATIENCE) not in (first, at_once)


def test_cancel_kills_what_runs_and_nothing_else(executor: Processes, tmp_path: Path) -> None:
    """The future fails at once; one that has ended cannot kill the window that came after it."""
    ended = executor.submit(deeds.process)
    pid = ended.result(PATIENCE)
    running = executor.submit(deeds.wait, str(tmp_path / "runs"))
    while not (tmp_path / "runs").exists():
        time.sleep(0.02)
    assert running.running()
    assert not ended.cancel()
    assert psutil.pid_exists(pid)
    assert running.cancel()
    with pytest.raises(ChildDied, match="SIGKILL"):
        running.result(PATIENCE)


def test_the_death_of_a_child_says_how_it_ended(executor: Processes) -> None:
    """The exit code is what an operator has to go by."""
    with pytest.raises(ChildDied, match="exit code 3"):
        executor.submit(deeds.leave_after, 0.0).result(PATIENCE)


def test_a_child_that_never_begins_can_be_ended(executor: Processes) -> None:
    """A host's module that hangs when it is imported keeps neither a pass nor the shutdown waiting."""
    stuck = executor.submit(deeds.Slow())
    assert not stuck.running()
    began = time.monotonic()
    executor.shutdown(cancel_futures=True)
    assert time.monotonic() - began < 30
    with pytest.raises(ChildDied, match="told to end"):
        stuck.result(0)
