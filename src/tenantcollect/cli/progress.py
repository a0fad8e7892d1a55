"""Shows how far a pass is, on stderr: a bar on a terminal, else a line every few seconds (floor: cli)."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

from tenantcollect.cli.printing import console, counted, note
from tenantcollect.cli.streams import aside, err
from tenantcollect.events import Event, PassFinished, WindowCommitted, WindowFailed
from tenantcollect.secrets import one_line

if TYPE_CHECKING:
    from tenantcollect.orchestrator import Orchestrator

EVERY = 5.0
"""Seconds between two lines."""


@contextmanager
def progress(orchestrator: "Orchestrator", total: Callable[[], int]) -> Iterator[None]:
    """Show the windows that are sealed inside the block; ``total`` is asked only for a bar."""
    with _bar(total) if err().isatty() else _lines() as show:
        unsubscribe = orchestrator.subscribe(show)
        try:
            yield
        finally:
            unsubscribe()


@contextmanager
def _bar(total: Callable[[], int]) -> Iterator[Callable[[Event], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns: tuple[Any, ...] = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    text = TextColumn("{task.description}", markup=False)
    with Progress(*columns, text, console=console(err())) as bar, aside():
        expected = total()
        task = bar.add_task("", total=expected)

        def show(event: Event) -> None:
            if isinstance(event, WindowCommitted | WindowFailed):
                verb = "" if isinstance(event, WindowCommitted) else "failed: "
                bar.update(task, advance=1, description=one_line(f"{verb}{event.key}"))
            elif isinstance(event, PassFinished):
                # An upstream may open more windows, or fewer, than were seen at the beginning.
                bar.update(task, total=bar.tasks[0].completed, description="")

        yield show


@contextmanager
def _lines() -> Iterator[Callable[[Event], None]]:
    began = said = time.monotonic()
    completed = failed = 0
    lock = Lock()

    def show(event: Event) -> None:
        nonlocal said, completed, failed
        with lock:
            completed += isinstance(event, WindowCommitted)
            failed += isinstance(event, WindowFailed)
            now = time.monotonic()
            if now - said >= EVERY:
                said = now
                note(f"{counted(completed, 'window')} completed, {failed} failed after {now - began:.0f} s")

    yield show
