"""SIGINT and SIGTERM during a pass: the first ends it gracefully, the second at once (floor: cli)."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from types import FrameType
from typing import TYPE_CHECKING

from tenantcollect.cli.streams import err

if TYPE_CHECKING:
    from tenantcollect.orchestrator import Orchestrator

SAID = b"\nstopping: open windows may finish; once more ends at once (nothing is lost)\n"
INSIST_SECONDS = 0.1
SHOW_CURSOR = b"\x1b[?25h"


def _tell(words: bytes) -> None:
    with suppress(OSError):
        os.write(2, words)


@contextmanager
def stoppable(orchestrator: "Orchestrator") -> Iterator[None]:
    """Inside, a signal asks the pass to stop, also one that comes before it has begun; a second one exits with 128 +
    its number (130, 143).
    """
    asked, ended = False, Event()

    def insist() -> None:
        """Only a pass that has begun can be stopped."""
        orchestrator.stop()
        while not ended.wait(INSIST_SECONDS):
            orchestrator.stop()

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if asked:
            if err().isatty():
                _tell(SHOW_CURSOR)  # a progress bar hides it
            os._exit(128 + number)  # threads may hang in a collector: nothing waits for them
        asked = True
        _tell(SAID)
        # Not in this frame: it interrupts the very pass that `stop` waits for.
        Thread(target=insist, name="tenantcollect-stop", daemon=True).start()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        ended.set()
        for number, handler in before.items():
            signal.signal(number, handler)
