"""One child process, as its parent sees it (floor: contrib)."""

import logging
import multiprocessing
import os
import select
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from multiprocessing import process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from tenantcollect.contrib.processes import inside
from tenantcollect.contrib.processes.families import deaf, end_family, end_left_behind
from tenantcollect.contrib.processes.watchdog import Watchdog
from tenantcollect.errors import ChildDied

__all__ = ["Call", "Child"]

logger = logging.getLogger("tenantcollect.processes")

Call = partial[Any]
GUARD = 'if no window begins at all: a program that runs windows in processes must guard it: if __name__ == "__main__"'

UNKNOWN_EXIT_CODE = 255
"""As ``multiprocessing`` itself says of a process whose exit code was taken by somebody else."""


class Child:
    """One process, in a pool of its own: to end it holds up no other. Raises :class:`RuntimeError` if none starts."""

    def __init__(self, memory_limit: int | None, watchdog: Watchdog) -> None:
        from pebble import ProcessPool

        alone = _Alone()
        self._pool = ProcessPool(
            max_workers=1,
            initializer=inside.prepare,
            initargs=(memory_limit,),
            context=alone,  # type: ignore[arg-type]
        )
        try:
            resource_tracker.ensure_running()  # else it is started below, and then opens the ears of the thread
            with deaf():
                started = self._pool.active
        except (OSError, RuntimeError) as error:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            raise _not_started(error) from error
        if not started or alone.process is None or alone.process.pid is None:
            raise RuntimeError("no process could be started")
        self._process, self._pid = alone.process, alone.process.pid
        self._memory_limit, self._watchdog = memory_limit, watchdog
        self.windows, self.killed = 0, False
        try:
            watchdog.mind(self._pid, memory_limit)
        except OSError as error:
            self.end(then=bool)
            raise _not_started(error) from error

    @property
    def used(self) -> bool:
        """Whether the call that runs is not its first."""
        return self.windows > 1

    def lives(self) -> bool:
        """Whether its process is still there."""
        return self._process.is_alive()

    def run(self, call: Call) -> tuple["Future[Any]", "Future[Any]"]:
        """Two futures: done when it has prepared what ``call`` needs, and with what ``call`` returns.

        Raises :class:`RuntimeError` when its process is known to be gone.
        """
        self.windows += 1
        begun = self._pool.schedule(inside.begin, args=(call.func,))
        return begun, self._pool.schedule(inside.run, args=(call, self._memory_limit))

    def kill(self) -> bool:
        """End it now, with all that it started; False if it is gone. Its futures fail soon."""
        if not self.lives():
            return False
        self.killed = True
        end_family(self._pid)
        return True

    def end(self, then: Callable[["Child"], object]) -> threading.Thread:
        """End it for good, in a thread, without keeping anybody waiting: the pool takes a moment to notice."""

        def end() -> None:
            try:
                if not self.kill():
                    end_left_behind(self._pid)
                self._pool.stop()  # type: ignore[no-untyped-call]
                self._pool.join()
            except Exception:
                logger.exception("a child process did not end as it should")
            finally:
                self._watchdog.let_go(self._pid)
                self._process.forget()
                then(self)

        ending = threading.Thread(target=end, name="tenantcollect-child-end", daemon=True)
        ending.start()
        return ending

    def death(self, error: BaseException, *, begun: bool) -> ChildDied:
        """Why a call has no result, in words that say what to look for."""
        code = self._process.exitcode
        if code is None and self.lives():
            how = type(error).__name__ + ("" if begun else f": {error}")
        elif code is None:
            how = "its exit code was taken by somebody else"
        elif code >= 0:
            how = f"exit code {code}"
        elif self.killed:
            how = f"{_signal_name(-code)}: it was told to end"
        else:
            how = _signal_name(-code) + ("; was it out of memory?" if -code == signal.SIGKILL else "")
        died = ChildDied(f"{ChildDied()} ({how if begun or self.killed else f'{how}; {GUARD}'})")
        died.begun = begun
        return died


def _not_started(error: Exception) -> RuntimeError:
    """With the reason; pebble hides it in the cause."""
    reason = error.__cause__ or error
    return RuntimeError(f"no process could be started ({type(reason).__name__}: {reason})")


def _signal_name(number: int) -> str:
    with suppress(ValueError):  # real-time signals have no names
        return signal.Signals(number).name
    return f"signal {number}"


class _Process(SpawnProcess):
    """A process whose end is noticed also where a host takes the exit codes of all its children, or ignores SIGCHLD."""

    _handle: int | None = None
    _popen: Any

    def start(self) -> None:
        """It is nobody's but ours: ``multiprocessing`` waits at exit, also in a fork, for those that it knows of."""
        super().start()
        process._children.discard(self)  # type: ignore[attr-defined]
        with suppress(OSError, AttributeError):
            self._handle = os.pidfd_open(self.pid or 0)

    def is_alive(self) -> bool:
        return super().is_alive() and not self._gone()

    def _gone(self) -> bool:
        if self._handle is not None:
            watch = select.poll()
            watch.register(self._handle, select.POLLIN)
            return bool(watch.poll(0))
        try:
            os.kill(self.pid or 0, 0)
        except ProcessLookupError:
            return True
        return False

    def forget(self) -> None:
        """It has ended, and nothing more is asked of it; nor of the system, which may not know its number any more."""
        if self._popen is not None:
            if self._popen.poll() is None:
                self._popen.returncode = UNKNOWN_EXIT_CODE
            self._popen.close()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class _Alone:
    """What pebble takes for ``multiprocessing``: it makes one process, so that nobody gets the calls of one that died,
    and no semaphores, which would be left behind when the host ends at once.
    """

    def __init__(self) -> None:
        self._spawn = multiprocessing.get_context("spawn")
        self.process: _Process | None = None

    def Process(self, *, target: Any, name: str, args: Any, kwargs: Any) -> "_Process":  # noqa: ARG002, N802 - pebble's
        if self.process is not None:
            raise OSError("the process of a child is not replaced")
        self.process = _Process(target=target, name="tenantcollect-child", args=args, kwargs=kwargs)
        return self.process

    def Pipe(self, duplex: bool = True) -> tuple[Connection, Connection]:  # noqa: N802
        return self._spawn.Pipe(duplex)

    def RLock(self) -> "_Unshared":  # noqa: N802
        return _Unshared()

    def get_start_method(self) -> str:
        return "spawn"


class _Unshared:
    """The lock of a channel that one process uses alone."""

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:  # noqa: ARG002
        return True

    def release(self) -> None:
        pass
