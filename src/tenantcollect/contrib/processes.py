"""An executor whose windows can be killed: one reusable process per slot (floor: contrib; PROTOCOL 6).

Whatever a collector does in a child (hang in C, exit, eat memory, fork, print without end), costs its own window:
the child is killed with all that it started, and replaced. Nothing is decided here: the engine says when to kill,
and asks the database what a dead child had sealed.
"""

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from tenantcollect.errors import ChildDied, ConfigurationError

__all__ = ["Processes"]

P = ParamSpec("P")
T = TypeVar("T")

GIB = 2**30
LOOK_EVERY_SECONDS = 1.0
STANDSTILL_SECONDS = 3600
"""An interpreter that runs no Python for so long ends itself, also when nobody is left to kill it."""
FIRST_TO_DIE = "500"
"""How much sooner the kernel, out of memory, ends a child than the process of the host (-1000 to 1000)."""


class Processes(Executor):
    """Runs windows in child processes; needs the extra: ``pip install "tenantcollect[process]"``.

    A child is reused for up to ``max_windows`` windows, and replaced earlier if a window leaves threads, processes
    or another working directory behind. ``memory_limit`` bounds the data of each child in bytes (Linux; None = no
    bound). There are as many children as windows that run at once; an idle one stays for the next window. What
    they print is dropped: ``context.logger`` and ``context.warn`` are what is kept.

    Raises :class:`ConfigurationError` when the extra is not installed.
    """

    elsewhere = True
    """Objects do not reach a child: ``connect`` must be able to say how it builds the orchestrator (``app=``)."""

    def __init__(self, *, memory_limit: int | None = 2 * GIB, max_windows: int = 100) -> None:
        try:
            import pebble  # noqa: F401 - said now, not in the middle of a pass
        except ImportError:
            raise ConfigurationError(
                'processes need a library that is not installed; run: pip install "tenantcollect[process]"'
            ) from None
        self._memory_limit, self._max_windows = memory_limit, max_windows
        self._idle: list[_Child] = []
        self._busy: dict[Future[Any], _Child] = {}
        self._closed = False
        self._lock = threading.Condition(threading.RLock())

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run ``fn`` in a child; the future's ``cancel`` kills it also while it runs. It fails with ChildDied."""
        future: _Killable[T] = _Killable(self)
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor is shut down")
            self._busy[future] = self._living() or _Child(self._memory_limit)
        self._begin(future, fn, args, kwargs)
        return future

    def _living(self) -> "_Child | None":
        """An idle child; the kernel prefers those when memory is short, so some may be gone."""
        while self._idle:
            child = self._idle.pop()
            if child.lives():
                return child
            child.discard()
        return None

    def _begin(self, future: "_Killable[Any]", fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """Hand the call to the child of ``future``; one that died while it was idle is replaced by a new one."""
        with self._lock:
            child = self._busy[future]
        fresh = not child.windows
        try:
            begun, running = child.begun(fn), child.run(fn, args, kwargs)
        except RuntimeError:
            if fresh:
                self._ended(future, error=ChildDied(f"{ChildDied()} (it could not be started)"))
            else:
                self._anew(future, fn, args, kwargs)
            return
        begun.add_done_callback(lambda _: future.has_begun())

        def done(running: "Future[Any]") -> None:
            error = running.exception()
            if isinstance(error, BrokenProcessPool) and not fresh:
                self._anew(future, fn, args, kwargs)  # it never got the call
            elif error is not None:
                self._ended(future, error=_died(error))
            else:
                result, spoiled = running.result()
                self._ended(future, result, keep=not spoiled and child.windows < self._max_windows)

        running.add_done_callback(done)

    def _anew(self, future: "_Killable[Any]", fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        with self._lock:
            if future not in self._busy:
                return
            self._busy[future].discard()
            self._busy[future] = _Child(self._memory_limit)
        self._begin(future, fn, args, kwargs)

    def _ended(
        self, future: "Future[Any]", result: Any = None, *, error: ChildDied | None = None, keep: bool = False
    ) -> None:
        """Tell the outcome, once; the child waits for the next window, or is ended."""
        with self._lock:
            child = self._busy.pop(future, None)
            if child is None:
                return
            if keep and not self._closed:
                self._idle.append(child)
            else:
                child.discard()
            self._lock.notify_all()
        future.set_exception(error) if error else future.set_result(result)

    def _kill(self, future: "Future[Any]") -> bool:
        """End the child that runs ``future`` now, if one does."""
        with self._lock:
            child = self._busy.get(future)
            killed = child is not None and child.kill()
        if child is not None and not killed:
            self._ended(future, error=ChildDied(f"{ChildDied()} (it was told to end)"))
        return child is not None

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the children: the idle ones now, the others after their window, or now with ``cancel_futures``."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = tuple(self._busy)
        for child in idle:
            child.discard()
        for future in busy if cancel_futures else ():
            future.cancel()
        if wait:
            with self._lock:
                self._lock.wait_for(lambda: not self._busy)
            for child in idle:
                child.gone.wait()


class _Killable(Future[T]):
    """A future whose ``cancel`` kills what runs."""

    def __init__(self, executor: Processes) -> None:
        super().__init__()
        self._executor = executor

    def has_begun(self) -> None:
        """From now on it is running."""
        with suppress(Exception):  # it may have ended meanwhile
            self.set_running_or_notify_cancel()

    def cancel(self) -> bool:
        """Kill the child, and all that it started; the future then fails. False if it has ended already."""
        return self._executor._kill(self)


class _Child:
    """One process, in a pool of its own: to kill it holds up no other."""

    def __init__(self, memory_limit: int | None) -> None:
        from pebble import ProcessPool

        self._pool: ProcessPool = ProcessPool(
            max_workers=1,
            initializer=_prepare,
            initargs=(os.getpid(), memory_limit),
            context=multiprocessing.get_context("spawn"),
        )
        self._pid: Future[int] | None = None
        self.windows = 0
        self.gone = threading.Event()

    def begun(self, function: Callable[..., Any]) -> "Future[int]":
        """Done when it has started, and prepared what ``function`` needs: from then on a window is timed."""
        if self._pid is None:
            self._pid = self._pool.schedule(_begin, args=(function,))
        return self._pid

    def run(self, function: Callable[..., Any], arguments: Any, named: Any) -> "Future[Any]":
        self.windows += 1
        running: Future[Any] = self._pool.schedule(_spoiling, args=(function, arguments, named))
        return running

    def kill(self) -> bool:
        """End it and its descendants; False if it has not begun, or is gone."""
        if self._pid is None or not self._pid.done() or self._pid.exception() is not None:
            return False
        try:
            os.killpg(self._pid.result(), signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def lives(self) -> bool:
        """Whether its process is still there, as far as the system can say without taking its end from the pool."""
        if self._pid is None or not hasattr(os, "waitid"):
            return True
        try:
            return os.waitid(os.P_PID, self._pid.result(), os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def discard(self) -> None:
        """End it for good, without keeping anybody waiting: the pool takes a moment to notice."""

        def end() -> None:
            self.kill()
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self.gone.set()

        threading.Thread(target=end, name="tenantcollect-child-end", daemon=True).start()


def _died(error: BaseException) -> ChildDied:
    """Why a window has no result, in words that say what to look for."""
    code = getattr(error, "exitcode", None)
    if code is not None and code < 0:
        return ChildDied(f"{ChildDied()} ({signal.Signals(-code).name}; was it out of memory?)")
    if code is not None:
        return ChildDied(f"{ChildDied()} (exit code {code})")
    guard = 'a program that runs windows in processes must guard its start: if __name__ == "__main__"'
    return ChildDied(f"{ChildDied()} ({type(error).__name__}; if no window begins at all: {guard})")


# What runs in the child.


def _prepare(parent: int, memory_limit: int | None) -> None:
    """Cut the child off: its own session, no terminal, a bound on memory, and an end when the parent is gone."""
    with suppress(OSError):
        os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    if sys.platform != "win32" and memory_limit is not None:
        import resource

        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (memory_limit, memory_limit))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_DIE, encoding="ascii")
    threading.Thread(target=_outlive_nobody, args=(parent,), name="tenantcollect-parent", daemon=True).start()


def _outlive_nobody(parent: int) -> None:
    """An orphan ends at once, with its descendants: nobody renews the lease of its window any more."""
    while os.getppid() == parent:
        faulthandler.dump_traceback_later(STANDSTILL_SECONDS, exit=True, file=2)  # sys.stderr may be anything
        time.sleep(LOOK_EVERY_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _begin(function: Callable[..., Any]) -> int:
    """Prepare what all windows share, if ``function`` has a method of that name; the process."""
    if prepare := getattr(function, "prepare", None):
        prepare()
    return os.getpid()


def _spoiling(function: Callable[..., Any], arguments: Any, named: Any) -> tuple[Any, bool]:
    """What ``function`` returns, and whether it left something behind that the next tenant must not meet."""
    before = _surroundings()
    try:
        result = function(*arguments, **named)
    finally:
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
    return result, _surroundings() != before or _has_children()


def _surroundings() -> tuple[object, ...]:
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return threading.active_count(), _folder(), dict(os.environ), handlers


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
