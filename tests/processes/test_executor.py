"""The executor by itself: which child runs what, and what becomes of one that dies (G4)."""

import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker
from pathlib import Path

import psutil
import pytest

from tenantcollect import ConfigurationError
from tenantcollect.contrib.processes import Processes
from tenantcollect.errors import ChildDied
from tests.processes import deeds

PATIENCE = 60


def until(true: Callable[[], bool]) -> None:
    """Wait for ``true``, as long as a loaded machine may need."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def until_there(file: Path) -> str:
    """What a child wrote, as soon as it did."""
    until(file.exists)
    return file.read_text()


@pytest.mark.parametrize("what", deeds.LEAVINGS)
def test_a_child_is_reused_until_it_is_spoiled(executor: Processes, what: str) -> None:
    """A window that changes what is everybody's in its process gets its result, and the next one a new child."""
    first = executor.submit(deeds.process).result(PATIENCE)
    assert executor.submit(deeds.leave, what).result(PATIENCE) == first
    assert executor.submit(deeds.process).result(PATIENCE) != first


def test_a_folder_that_is_gone_is_not_handed_on(executor: Processes, tmp_path: Path) -> None:
    """A window that leaves no folder to stand in gets its result, and the next one a new child."""
    first = executor.submit(deeds.leave_folder, str(tmp_path / "gone")).result(PATIENCE)
    assert executor.submit(deeds.process).result(PATIENCE) != first


def test_what_an_import_changes_spoils_no_child(executor: Processes, tmp_path: Path) -> None:
    """Many modules filter warnings or add a path; a child whose windows import late would never be reused."""
    first = executor.submit(deeds.process).result(PATIENCE)
    assert executor.submit(deeds.import_with_filter, str(tmp_path)).result(PATIENCE) == first
    assert executor.submit(deeds.process).result(PATIENCE) == first


def test_a_child_serves_so_many_windows_and_no_more(importable: None) -> None:
    """What leaks slowly ends with the process."""
    with Processes(max_windows=2) as short:
        pids = [short.submit(deeds.process).result(PATIENCE) for _ in range(3)]
    assert pids[0] == pids[1] != pids[2]


def test_g4_a_child_whose_window_went_wrong_serves_no_other(executor: Processes) -> None:
    """What it was left with, memory above all, is not the next tenant's."""
    first = executor.submit(deeds.answer, sound=False).result(PATIENCE)
    assert executor.submit(deeds.process).result(PATIENCE) != first.pid


def test_g4_what_a_used_child_is_unable_to_do_is_done_by_a_new_one(
    executor: Processes, caplog: pytest.LogCaptureFixture
) -> None:
    """An earlier window may be to blame; of a child that is new nobody else is, and it is believed. No log cries."""
    used = executor.submit(deeds.process).result(PATIENCE)
    told = executor.submit(deeds.answer, sound=False, unable=True).result(PATIENCE)
    assert told.pid != used
    assert told.unable
    assert caplog.records == []


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
    until_there(tmp_path / "runs")
    until(running.running)
    assert not ended.cancel()
    assert psutil.pid_exists(pid)
    assert running.cancel()
    with pytest.raises(ChildDied, match="SIGKILL: it was told to end"):
        running.result(PATIENCE)


def test_cancel_kills_all_that_was_started_too(executor: Processes, tmp_path: Path) -> None:
    """Also what is in a session of its own, and what has lost its parent."""
    running = executor.submit(deeds.wait_with_family, str(tmp_path / "family"))
    family = [psutil.Process(int(pid)) for pid in until_there(tmp_path / "family").split()]
    assert running.cancel()
    assert psutil.wait_procs(family, timeout=PATIENCE)[1] == []


@pytest.mark.parametrize(
    ("deed", "argument", "words"),
    [
        (deeds.exit_with, 0, "(exit code 0)"),
        (deeds.exit_with, 256, "(exit code 0)"),
        (deeds.exit_with, 3, "(exit code 3)"),
        (deeds.die_of, signal.SIGKILL, "(SIGKILL; was it out of memory?)"),
        (deeds.die_of, signal.SIGSEGV, "(SIGSEGV)"),
        (deeds.die_of, signal.SIGRTMIN + 6, f"(signal {signal.SIGRTMIN + 6})"),
        (deeds.share_memory, 200 * 2**20, "(SIGKILL; was it out of memory?)"),
    ],
)
def test_the_death_of_a_child_says_how_it_ended(executor: Processes, deed, argument: int, words: str) -> None:
    """At once, whatever it died of: it is what an operator has to go by."""
    began = time.monotonic()
    with pytest.raises(ChildDied) as died:
        executor.submit(deed, argument).result(PATIENCE)
    assert time.monotonic() - began < 20
    assert str(died.value).endswith(words)
    assert died.value.begun


def test_a_child_that_never_begins_can_be_ended(importable: None) -> None:
    """A host's module that hangs when it is imported keeps neither a pass nor the shutdown waiting."""
    executor = Processes()
    stuck = executor.submit(deeds.Slow())
    assert not stuck.running()
    began = time.monotonic()
    executor.shutdown(cancel_futures=True)
    assert time.monotonic() - began < 30
    with pytest.raises(ChildDied, match="told to end"):
        stuck.result(0)


def test_a_host_whose_children_end_before_they_begin_is_told_so(executor: Processes, tmp_path: Path) -> None:
    """One more child is tried, and no third; the error says that no window began, and what the reason may be."""
    with pytest.raises(ChildDied, match=r"exit code 0; if no window begins.*__main__") as died:
        executor.submit(deeds.Stillborn(str(tmp_path / "tries"))).result(PATIENCE)
    assert not died.value.begun
    assert (tmp_path / "tries").read_text() == "xx"


def test_where_no_other_child_can_be_started_no_window_has_begun(executor: Processes) -> None:
    """It is nobody's window that the host has no files left; and what has to be ended is ended all the same."""
    used = psutil.Process(executor.submit(deeds.process).result(PATIENCE))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(ChildDied, match="OSError") as died:
            executor.submit(deeds.answer, unable=True).result(PATIENCE)
        used.wait(10)  # needs no file, whoever gets the exit code
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not died.value.begun


@pytest.mark.parametrize("free", range(6))  # twelve would do; what earlier tests still close must not be among them
def test_submit_says_why_no_process_can_be_started(importable: None, free: int) -> None:
    """Whichever descriptor is the one that is missing; and what was opened is closed again."""
    resource_tracker.ensure_running()
    executor, held = Processes(), []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_before = len(list(Path("/dev/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_before + 40, limits[1]))
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for one in held[:free]:
            os.close(one)
        del held[:free]
        with pytest.raises(RuntimeError, match=r"no process could be started .*Too many open files"):
            executor.submit(deeds.process).result(PATIENCE)
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        executor.shutdown()
    until(lambda: len(list(Path("/dev/fd").iterdir())) <= open_before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory_limit": "512M"},
        {"memory_limit": 1.5e9},
        {"memory_limit": 0},
        {"memory_limit": 2**20},
        {"memory_limit": True},
        {"max_windows": 0},
        {"max_windows": "7"},
        {"max_windows": None},
    ],
)
def test_arguments_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    """They are named, before any child is started."""
    with pytest.raises(ConfigurationError, match=f"{next(iter(wrong))} must be a whole number of at least"):
        Processes(**wrong)  # type: ignore[arg-type]


def test_a_call_that_cannot_travel_says_what_of_it(executor: Processes) -> None:
    """No child ever gets it: that is told as such, with the reason."""
    with pytest.raises(ChildDied, match=r"Can't pickle local object.*<lambda>") as died:
        executor.submit(lambda: None).result(PATIENCE)
    assert not died.value.begun
