"""The default executor: threads that a hung collector cannot use to keep the process alive."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["DaemonThreads"]


class DaemonThreads(Executor):
    """A daemon thread per call. How many run at once is the caller's business (``passes.capacity``).

    The standard pool joins its threads when the interpreter ends, so one hung collector would hang it for ever.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run ``fn`` in a thread of its own."""
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - a future carries whatever was raised
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=work, name="tenantcollect-window", daemon=True).start()
        return future
