"""What runs in a child process (floor: contrib)."""

import gc
import locale
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from tenantcollect.contrib.processes.families import DEAF_TO, resident

__all__ = ["begin", "prepare", "run"]

FIRST_TO_DIE = "500"
"""How much sooner the kernel, out of memory, ends a child than the process of the host (-1000 to 1000)."""
PR_SET_CHILD_SUBREAPER = 36


def prepare(memory_limit: int | None) -> None:
    """Cut the child off: its own session, no terminal, deaf to what is meant for its parent, a bound on memory."""
    with suppress(OSError):
        os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    here = os.getpid()

    def only_a_fork_ends(number: int, _: FrameType | None) -> None:
        if os.getpid() != here:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number in DEAF_TO:
        signal.signal(number, only_a_fork_ends)  # unlike SIG_IGN, no program that a collector starts inherits it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, DEAF_TO)
    if memory_limit is not None:
        _bound(memory_limit)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_DIE, encoding="ascii")
    with suppress(Exception):
        _adopt_orphans()


def _bound(memory_limit: int) -> None:
    import resource

    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory_limit, memory_limit))


def _adopt_orphans() -> None:
    """What a descendant leaves behind becomes a child of this process, and is found when it is ended (Linux)."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def begin(function: Callable[..., Any]) -> None:
    """Prepare what all calls of ``function`` share, if it has a method of that name; from then on a window is timed."""
    if ready := getattr(function, "prepare", None):
        ready()


def run(call: "partial[Any]", memory_limit: int | None) -> tuple[Any, bool]:
    """What ``call`` returns, and whether it left something behind that the next tenant must not meet."""
    before, imported = (_surroundings(), _conventions()), len(sys.modules)
    try:
        result = call()
    finally:
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
    after = (_surroundings(), before[1] if len(sys.modules) != imported else _conventions())
    swollen = memory_limit is not None and resident(os.getpid()) > memory_limit / 2
    return result, after != before or swollen or _has_children()


def _surroundings() -> tuple[object, ...]:
    """What a window has no business to change for the next one."""
    return (
        threading.active_count(),
        _folder(),
        dict(os.environ),
        [signal.getsignal(number) for number in signal.valid_signals()],
        signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        _limits(),
        _umask(),
        os.getpriority(os.PRIO_PROCESS, 0),
        [_file(stream) for stream in (0, 1, 2)],
        (sys.stdin, sys.stdout, sys.stderr),
        (sys.getrecursionlimit(), sys.getswitchinterval(), sys.gettrace(), sys.getprofile(), gc.isenabled()),
        (socket.getdefaulttimeout(), locale.setlocale(locale.LC_ALL), time.tzname),
    )


def _conventions() -> tuple[object, ...]:
    """What importing a module may rightly change, and nothing else."""
    loggers = [logging.getLogger(name) for name in (None, "tenantcollect", "tenantcollect.collectors")]
    return (
        list(sys.path),
        list(sys.meta_path),
        list(warnings.filters),
        (sys.excepthook, sys.unraisablehook, threading.excepthook),
        logging.root.manager.disable,
        [(one.level, one.disabled, one.propagate, one.handlers[:], one.filters[:]) for one in loggers],
    )


def _limits() -> list[tuple[int, int]]:
    import resource

    return [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")]


def _umask() -> int:
    """There is no other way to read it, and nobody else to be disturbed."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _file(number: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _folder() -> str | None:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


def _has_children() -> bool:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    return False
