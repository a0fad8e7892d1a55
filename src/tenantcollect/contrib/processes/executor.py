"""The executor: which child runs what, and what becomes of one that dies (floor: contrib; PROTOCOL 6).

Whatever a collector does in a child (hang in C, exit, eat memory, fork, print without end), costs its own window:
the child is killed with all that it started, and replaced. Nothing is decided here: the engine says when to kill,
and asks the database what a dead child had sealed.
"""

import atexit
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

from tenantcollect.contrib.processes.child import Call, Child
from tenantcollect.contrib.processes.watchdog import Watchdog
from tenantcollect.errors import ChildDied, ConfigurationError
from tenantcollect.settings import whole_number

__all__ = ["Processes"]

P = ParamSpec("P")
T = TypeVar("T")

GIB, MIB = 2**30, 2**20
LEAST_MEMORY = 64 * MIB
"""With less Python itself does not start."""
ENDED_WITHIN_SECONDS = 10.0


class Processes(Executor):
    """Runs windows in child processes; needs the extra: ``pip install "tenantcollect[process]"``.

    A child is reused for up to ``max_windows`` windows, and replaced earlier after a window that did not complete,
    or that left threads, processes, much memory or other settings of the process behind. ``memory_limit`` bounds the
    memory of each child in bytes, at least 64 MiB (Linux; None = no bound). There are as many children as windows
    that run at once; an idle one stays for the next window. What they print is dropped: ``context.logger`` and
    ``context.warn`` are what is kept.

    A result may say of itself that its process should run nothing more (``sound`` is false), or that the process
    was no use for it (``unable`` is true): such a call is made once more, in a new child, unless it was in one.

    Raises :class:`ConfigurationError` for wrong arguments, and when the extra is not installed.
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
        self._memory_limit = (
            None if memory_limit is None else whole_number(memory_limit, "memory_limit", least=LEAST_MEMORY)
        )
        self._max_windows = whole_number(max_windows, "max_windows", least=1)
        self._maker = os.getpid()
        self._watchdog = Watchdog()
        self._idle: list[Child] = []
        self._busy: dict[Future[Any], Child] = {}
        self._ending: dict[Child, threading.Thread] = {}
        self._closed = False
        self._lock = threading.Condition(threading.RLock())
        atexit.register(self._leave)  # it runs before multiprocessing's own, which waits for every child

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run ``fn`` in a child; the future's ``cancel`` kills it also while it runs. It fails with ChildDied.

        Raises :class:`RuntimeError` after ``shutdown``, in a process forked from the executor's own, and when no
        process can be started.
        """
        if os.getpid() != self._maker:
            raise RuntimeError("the executor belongs to the process that this one was forked from; make another")
        future: _Killable[T] = _Killable(self)
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor is shut down")
            self._busy[future] = self._living() or Child(self._memory_limit, self._watchdog)
        self._begin(future, partial(fn, *args, **kwargs))
        return future

    def _living(self) -> Child | None:
        """An idle child; the kernel prefers those when memory is short, so some may be gone."""
        while self._idle:
            child = self._idle.pop()
            if child.lives():
                return child
            self._end(child)
        return None

    def _begin(self, future: "_Killable[Any]", call: Call) -> None:
        """Hand the call to the child of ``future``."""
        with self._lock:
            child = self._busy[future]
        try:
            begun, running = child.run(call)
        except RuntimeError as error:
            begun = running = Future()
            running.set_exception(error)
        begun.add_done_callback(lambda begun: None if begun.exception() else self._has_begun(future, child))
        running.add_done_callback(lambda running: self._done(future, call, begun, running))

    def _has_begun(self, future: "_Killable[Any]", child: Child) -> None:
        """It is running from now on; unless it was already, in a child before, or another child has it by now."""
        with self._lock:
            if self._busy.get(future) is child and not future.running():
                future.set_running_or_notify_cancel()

    def _done(self, future: "_Killable[Any]", call: Call, begun: "Future[Any]", running: "Future[Any]") -> None:
        """The call has ended, or its child has; whatever goes wrong here, nobody is kept waiting for ``future``."""
        try:
            error = running.exception()
            if error is not None:
                self._lost(future, call, error, begun=begun.done() and begun.exception() is None)
            else:
                self._told(future, call, *running.result())
        except BaseException as error:  # noqa: BLE001 - the call needs another child, and none can be started
            died = ChildDied(f"{ChildDied()} ({type(error).__name__}: {error})")
            died.begun = False
            self._ended(future, error=died)

    def _told(self, future: "_Killable[Any]", call: Call, result: Any, spoiled: bool) -> None:
        child = self._child_of(future)
        if child and child.used and not child.killed and not future.again and getattr(result, "unable", False):
            self._anew(future, call)
        elif child:
            keep = not spoiled and child.windows < self._max_windows and getattr(result, "sound", True)
            self._ended(future, result, keep=keep)

    def _lost(self, future: "_Killable[Any]", call: Call, error: BaseException, *, begun: bool) -> None:
        """The child has died; if it never began with the call, another one gets it, once."""
        child = self._child_of(future)
        if child and not begun and not child.killed and not future.again:
            self._anew(future, call)
        elif child:
            self._ended(future, error=child.death(error, begun=begun))

    def _child_of(self, future: "Future[Any]") -> Child | None:
        with self._lock:
            return self._busy.get(future)

    def _anew(self, future: "_Killable[Any]", call: Call) -> None:
        future.again = True
        with self._lock:
            before = self._busy[future]
            self._busy[future] = Child(self._memory_limit, self._watchdog)
            self._end(before)
        self._begin(future, call)

    def _ended(
        self, future: "Future[Any]", result: Any = None, *, error: ChildDied | None = None, keep: bool = False
    ) -> None:
        """Tell the outcome, once; the child waits for the next window, or is ended."""
        with self._lock:
            child = self._busy.pop(future, None)
            if child is None:
                return
            if keep and not (child.killed or self._closed):
                self._idle.append(child)
            else:
                self._end(child)
            self._lock.notify_all()
        future.set_result(result) if error is None else future.set_exception(error)

    def _end(self, child: Child) -> None:
        self._ending[child] = child.end(then=self._gone)

    def _gone(self, child: Child) -> None:
        with self._lock:
            self._ending.pop(child, None)

    def _kill(self, future: "Future[Any]") -> bool:
        """End the child that runs ``future`` now, if one does."""
        if os.getpid() != self._maker:
            return False
        with self._lock:  # once it has ended, its child may run another's window
            child = self._busy.get(future)
            if child is not None:
                child.kill()
        return child is not None

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the children: the idle ones now, the others after their window, or now with ``cancel_futures``."""
        if os.getpid() != self._maker:
            return
        with self._lock:
            self._closed = True
            while self._idle:
                self._end(self._idle.pop())
            busy = tuple(self._busy)
        for future in busy if cancel_futures else ():
            future.cancel()
        if wait:
            with self._lock:
                self._lock.wait_for(lambda: not self._busy)
                ending = tuple(self._ending.values())
            patience = time.monotonic() + ENDED_WITHIN_SECONDS
            for thread in ending:
                thread.join(max(0.0, patience - time.monotonic()))
            atexit.unregister(self._leave)

    def _leave(self) -> None:
        """The interpreter ends, and nobody has shut the executor down: from now on no thread can be started."""
        if os.getpid() == self._maker:
            for child in (*self._idle, *self._busy.values(), *self._ending):
                child.kill()


class _Killable(Future[T]):
    """A future whose ``cancel`` kills what runs."""

    def __init__(self, executor: Processes) -> None:
        super().__init__()
        self._executor, self.again = executor, False

    def cancel(self) -> bool:
        """Kill the child, and all that it started; the future then fails. False if it has ended already."""
        return self._executor._kill(self)
