"""What the suites do in other processes (floor: testing).

The functions that run there stand at the top of a module, so that a new process finds them.
"""

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from typing import Any

from tenantcollect.keys import Key
from tenantcollect.state import NewKey
from tenantcollect.testing.harness import Crash, Factory
from tenantcollect.testing.steps import START, made, opened, seal_of

__all__ = ["collect_elsewhere", "ensure_at_once"]

PATIENCE = 60


def _context() -> BaseContext:
    """New processes that share nothing with this one, forked from a server that has the imports done."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "tenantcollect.testing.sql"])
    return context


def ensure_at_once(factory: Factory, keys: Sequence[Key], *, processes: int) -> list[int]:
    """How many of ``keys`` each of so many processes made, that all began at once."""
    context = _context()
    start = context.Barrier(processes)
    children = [_started(_ensure, factory, keys, start) for _ in range(processes)]
    return [_exit_code(child) for child in children]


def collect_elsewhere(factory: Factory, write: Callable[..., None], *numbers: int, crash: Crash | None = None) -> int:
    """Open day 0 in another process, write rows and seal; the exit code of that process."""
    return _exit_code(_started(_collect, factory, write, numbers, crash))


def _started(work: Callable[..., None], *arguments: Any) -> BaseProcess:
    child: BaseProcess = _context().Process(target=work, args=arguments, daemon=True)  # type: ignore[attr-defined]
    child.start()
    return child


def _exit_code(child: BaseProcess) -> int:
    child.join(PATIENCE)
    code = child.exitcode
    child.kill()
    child.join()
    child.close()
    if code is None:
        raise TimeoutError(f"a process of the suite did not end within {PATIENCE} seconds")
    return code


def _collect(factory: Factory, write: Callable[..., None], numbers: Sequence[int], crash: Crash | None) -> None:
    backend = factory(crash=crash)
    transaction = backend.state.transaction(opened(backend, made(backend), owner="child"))
    write(transaction, *numbers)
    transaction.seal(seal_of(transaction.claim))
    backend.close()


def _ensure(factory: Factory, keys: Sequence[Key], start: Barrier) -> None:
    backend = factory()
    new = [NewKey(key=key, history_start=START) for key in keys]
    start.wait(PATIENCE)
    made = backend.state.ensure(new, due_at=START)
    backend.close()
    sys.exit(made)
