"""Children that nobody else can end, signals that are not for them, and processes that are not ours (X10, X11, G10)."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tenantcollect.contrib.processes import Processes
from tenantcollect.contrib.processes.families import end_left_behind
from tenantcollect.contrib.processes.watchdog import ENDS_WITHIN_SECONDS
from tests.processes import deeds
from tests.processes.conftest import ROOT
from tests.processes.test_executor import PATIENCE, until_there

HOST = """
import sys

from tenantcollect.contrib.processes import Processes
from tests.processes import deeds

if __name__ == "__main__":
    executor = Processes()
    first = executor.submit(deeds.process)
    print("started", flush=True)
    print(first.result(60), flush=True)
    if sys.argv[1:]:
        executor.submit(deeds.wait_in_c, sys.argv[1]).result()
"""


CARELESS = """
import os
import signal

from tenantcollect.contrib.processes import Processes
from tenantcollect.errors import ChildDied
from tests.processes import deeds

if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with Processes() as executor:
        try:
            executor.submit(deeds.exit_with, 3).result(60)
        except ChildDied as died:
            print(died, flush=True)
        print(executor.submit(deeds.process).result(60), flush=True)
    open_before = len(os.listdir("/dev/fd"))
    with Processes(max_windows=1) as executor:
        for _ in range(3):
            executor.submit(deeds.process).result(60)
    print(len(os.listdir("/dev/fd")) - open_before)
"""


FORKING = """
import os
import sys

from tenantcollect.contrib.processes import Processes
from tests.processes import deeds

if __name__ == "__main__":
    with Processes() as executor:
        child = executor.submit(deeds.process).result(60)
        fork = os.fork()
        if fork == 0:
            sys.exit(3)
        print(os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]), executor.submit(deeds.process).result(60) == child)
"""


def host(folder: Path, *words: str, program: str = HOST, stderr: int | None = None) -> subprocess.Popen[str]:
    """A program of somebody's that runs windows in children."""
    file = folder / "host.py"
    file.write_text(program)
    environ = {**os.environ, "PYTHONPATH": ROOT}
    command = [sys.executable, str(file), *words]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=stderr, text=True)


def children(words: str, *, of: int | None = None) -> list[psutil.Process]:
    """Those of a process, or of this one, that were started with these words."""
    alive = [one for one in psutil.Process(of).children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in alive if words in " ".join(one.cmdline())]


def test_x11_a_child_that_hangs_in_c_does_not_outlive_its_parent(tmp_path: Path) -> None:
    """No line of Python runs in it any more, and nobody is left to kill it, but the watchdog."""
    process = host(tmp_path, str(tmp_path / "hangs"))
    hanging = psutil.Process(int(until_there(tmp_path / "hangs")))
    process.kill()
    process.communicate()
    assert psutil.wait_procs([hanging], timeout=10)[1] == []


def test_x13_a_host_that_forgets_the_executor_ends_at_once_all_the_same(tmp_path: Path) -> None:
    """Its interpreter neither waits for an idle child nor leaves it behind."""
    process = host(tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    idle = psutil.Process(int(process.stdout.readline()))
    began = time.monotonic()
    process.communicate(timeout=PATIENCE)
    assert time.monotonic() - began < 3
    assert process.returncode == 0
    assert psutil.wait_procs([idle], timeout=5)[1] == []


def test_g10_a_host_that_lets_nobody_wait_for_its_children_sees_their_end_all_the_same(tmp_path: Path) -> None:
    """Their exit code is gone, and said to be; nothing waits for them for ever, and nothing of them stays open."""
    told, _ = host(tmp_path, program=CARELESS).communicate(timeout=PATIENCE)
    died, alive, left_open = told.splitlines()
    assert "its exit code was taken by somebody else" in died
    assert not psutil.pid_exists(int(alive))
    assert int(left_open) == 0


def test_g10_a_fork_of_the_host_that_ends_as_programs_do_says_nothing(tmp_path: Path) -> None:
    """Its interpreter waits for no child of its parent's, which goes on with it."""
    told, complaints = host(tmp_path, program=FORKING, stderr=subprocess.PIPE).communicate(timeout=PATIENCE)
    assert (told, complaints) == ("3 True\n", "")


def test_a_watchdog_that_was_killed_is_replaced(executor: Processes, tmp_path: Path) -> None:
    """With the next child that is started."""
    executor.submit(deeds.process).result(PATIENCE)
    [watchdog] = children("families.py")
    watchdog.kill()
    running = executor.submit(deeds.wait, str(tmp_path / "runs"))
    until_there(tmp_path / "runs")
    executor.submit(deeds.process).result(PATIENCE)
    assert len(children("families.py")) == 1
    running.cancel()


def test_x09_signals_for_the_parent_end_no_child_from_its_very_start(tmp_path: Path) -> None:
    """A terminal's Ctrl-C and a service manager's SIGTERM reach them too; what becomes of them their parent decides."""
    process = host(tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    [child] = children("spawn_main", of=process.pid)
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=PATIENCE) == (f"{child.pid}\n", None)


def test_what_a_collector_starts_can_be_told_to_end(executor: Processes) -> None:
    """That a child is deaf is nothing that its programs and forks inherit."""
    assert executor.submit(deeds.end_others).result(PATIENCE) == (-signal.SIGTERM, -signal.SIGTERM)


def test_g10_a_fork_of_the_host_leaves_the_children_alone(executor: Processes, tmp_path: Path) -> None:
    """Servers fork; the copy of the executor there neither uses nor ends what is its parent's."""
    running = executor.submit(deeds.wait, str(tmp_path / "runs"))
    until_there(tmp_path / "runs")
    fork = os.fork()
    if fork == 0:
        try:
            executor.submit(deeds.process)
        except RuntimeError:
            executor.shutdown(cancel_futures=True)
            os._exit(running.cancel())
        finally:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 0
    assert not running.done()
    running.cancel()


def test_g10_a_fork_of_the_host_that_stays_does_not_hold_up_the_shutdown(importable: None) -> None:
    """It keeps the input of the watchdog open, which ends all the same, as soon as it is told."""
    executor = Processes()
    executor.submit(deeds.process).result(PATIENCE)
    fork = os.fork()
    if fork == 0:
        time.sleep(deeds.FOREVER)
    began = time.monotonic()
    executor.shutdown()
    took = time.monotonic() - began
    os.kill(fork, signal.SIGKILL)
    os.waitpid(fork, 0)
    assert took < ENDS_WITHIN_SECONDS


def test_a_number_that_is_somebody_elses_by_now_is_let_alone() -> None:
    """A child that is gone may have left a group; a process that has got its number is none of ours."""
    innocent = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    end_left_behind(innocent.pid)
    with pytest.raises(subprocess.TimeoutExpired):
        innocent.wait(0.2)
    innocent.kill()
    innocent.wait()
    leaving = ["sh", "-c", "sleep 1000 >/dev/null & echo $!"]
    with subprocess.Popen(leaving, start_new_session=True, stdout=subprocess.PIPE, text=True) as leader:
        assert leader.stdout is not None
        left = psutil.Process(int(leader.stdout.readline()))
    end_left_behind(leader.pid)
    assert psutil.wait_procs([left], timeout=5)[1] == []
