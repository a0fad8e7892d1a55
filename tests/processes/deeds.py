"""What the tests have children do; a new process finds these functions by name."""

import os
import signal
import threading
import time
from pathlib import Path


def process() -> int:
    """Which process this is."""
    return os.getpid()


def leave_thread() -> int:
    """As ``process``, and leave a thread behind."""
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
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
    time.sleep(1000)


def leave_after(seconds: float) -> None:
    """Exit without a word."""
    time.sleep(seconds)
    os._exit(3)


class Slow:
    """A call whose preparation takes for ever."""

    def prepare(self) -> None:
        """Hang."""
        time.sleep(1000)

    def __call__(self) -> None:
        """Never reached."""
