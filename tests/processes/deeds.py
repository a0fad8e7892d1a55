"""What the tests have children do; a new process finds these functions by name."""

import ctypes
import gc
import logging
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FOREVER = 1000
KEPT: list[bytearray] = []


def process() -> int:
    """Which process this is."""
    return os.getpid()


@dataclass(frozen=True)
class Answer:
    """Which process gave it, and what it says of that."""

    pid: int
    sound: bool = True
    unable: bool = False


def answer(*, sound: bool = True, unable: bool = False) -> Answer:
    """As told, from this process."""
    return Answer(os.getpid(), sound, unable)


def _thread() -> None:
    threading.Thread(target=time.sleep, args=(FOREVER,), daemon=True).start()


def _lower_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))


def _memory() -> None:
    """More than half of what the tests allow."""
    KEPT.append(bytearray(60 * 2**20))
    KEPT[-1][:: mmap.PAGESIZE] = bytes(len(KEPT[-1]) // mmap.PAGESIZE)


def _hook(*_: object) -> None:
    """Nothing."""


LEAVINGS: dict[str, Callable[[], object]] = {
    "a thread": _thread,
    "a umask": lambda: os.umask(0o123),
    "an open file limit": _lower_limit,
    "a priority": lambda: os.nice(1),
    "a recursion limit": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1),
    "a blocked signal": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]),
    "no garbage collector": gc.disable,
    "no stdout": lambda: os.close(1),
    "a timeout": lambda: socket.setdefaulttimeout(0.001),
    "a filter of warnings": lambda: warnings.simplefilter("error"),
    "no logging": lambda: logging.disable(logging.CRITICAL),
    "a hook": lambda: setattr(threading, "excepthook", _hook),
    "a path": lambda: sys.path.insert(0, "/nowhere"),
    "much memory": _memory,
}


def leave(what: str) -> int:
    """As ``process``, and leave this behind."""
    LEAVINGS[what]()
    return os.getpid()


def import_with_filter(folder: str) -> int:
    """As ``process``, and import a module that filters warnings, as many do."""
    Path(folder, "with_filter_of_its_own.py").write_text("import warnings\nwarnings.simplefilter('ignore')\n")
    sys.path.append(folder)
    try:
        __import__("with_filter_of_its_own")
    finally:
        sys.path.remove(folder)
    return os.getpid()


def leave_folder(folder: str) -> int:
    """As ``process``, in a folder that is gone."""
    Path(folder).mkdir()
    os.chdir(folder)
    Path(folder).rmdir()
    return os.getpid()


def leave_alarm() -> int:
    """As ``process``, and be killed a moment later."""
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    return os.getpid()


def wait(file: str) -> None:
    """Say that it runs, and do not end."""
    Path(file).touch()
    time.sleep(FOREVER)


def wait_in_c(file: str) -> None:
    """Say which process it is, and let nothing run in it any more."""
    Path(file).write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(FOREVER)


def wait_with_family(file: str) -> None:
    """Say which processes were started, in sessions of their own, one of them an orphan; and do not end."""
    child = subprocess.Popen(["sleep", str(FOREVER)], start_new_session=True).pid
    middle = ["sh", "-c", f"setsid sleep {FOREVER} >/dev/null 2>&1 & echo $!"]
    orphan = subprocess.run(middle, start_new_session=True, capture_output=True, check=True).stdout.decode().strip()
    whole = Path(file).with_suffix(".part")
    whole.write_text(f"{child} {orphan}")
    whole.rename(file)
    time.sleep(FOREVER)


def end_others() -> tuple[int | None, int]:
    """How a program and a fork of this process end when they are told to."""
    program = subprocess.Popen(["sleep", str(FOREVER)])
    program.terminate()
    fork = os.fork()
    if fork == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(FOREVER)
    return program.wait(10), os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1])


def share_memory(size: int) -> None:
    """Use memory that no limit of the process knows of, and do not end."""
    shared = mmap.mmap(-1, size)
    for place in range(0, size, mmap.PAGESIZE):
        shared[place] = 1
    time.sleep(FOREVER)


def exit_with(code: int) -> None:
    """Exit without a word."""
    os._exit(code)


def die_of(number: int) -> None:
    """Be ended by a signal."""
    os.kill(os.getpid(), number)
    time.sleep(FOREVER)


class Slow:
    """A call whose preparation takes for ever."""

    def prepare(self) -> None:
        """Hang."""
        time.sleep(FOREVER)

    def __call__(self) -> None:
        """Never reached."""


class Stillborn:
    """A call whose preparation ends the process, and counts how often."""

    def __init__(self, file: str) -> None:
        self.file = file

    def prepare(self) -> None:
        """Note it, and exit as if all were well."""
        with Path(self.file).open("a") as file:
            file.write("x")
        os._exit(0)

    def __call__(self) -> None:
        """Never reached."""
