"""One colour: whatever a hook returns, its caller gets a plain value (floor: registry)."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import wraps
from typing import Any

from tenantcollect.errors import PluginError

__all__ = ["synchronous"]


def synchronous(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with the same parameters, whose awaitable results are awaited before they are returned.

    The adapter raises :class:`PluginError` for a generator, which would have done nothing yet.
    """

    @wraps(function)
    def call(*arguments: Any) -> Any:
        result = function(*arguments)
        if inspect.isgenerator(result) or inspect.isasyncgen(result):
            raise PluginError(f"{function.__qualname__}() returned a generator; return the value itself")
        return _awaited(result) if inspect.isawaitable(result) else result

    return call


def _awaited(awaitable: Awaitable[Any]) -> Any:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(awaitable)
    # A loop cannot be entered twice: a caller inside one (a notebook, an async test) has no place to await.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tenantcollect-async") as pool:
        return pool.submit(copy_context().run, _run, awaitable).result()


def _run(awaitable: Awaitable[Any]) -> Any:
    async def wait() -> Any:
        return await awaitable

    # With a factory the runner leaves the thread's current event loop, which is the host's, as it was (G10).
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(wait())
