"""The process beside the children that ends them when nobody else can (floor: contrib)."""

import subprocess
import threading
from contextlib import suppress
from multiprocessing.spawn import get_executable

from tenantcollect.contrib.processes import families

__all__ = ["Watchdog"]

ENDS_WITHIN_SECONDS = 5.0


class Watchdog:
    """Ends a child that outgrows its memory limit, and all of them when this process is gone, however it went.

    A thread of a child could do neither while C code holds its interpreter. The watchdog runs while there is a child;
    if it was killed, the next child brings another.
    """

    def __init__(self) -> None:
        self._minded: dict[int, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def mind(self, pid: int, memory_limit: int | None) -> None:
        """Watch over a child from now on."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                _end(self._process)
                self._process = _started()
                for other, limit in self._minded.items():
                    self._tell(other, limit)
            self._minded[pid] = memory_limit or 0
            self._tell(pid, self._minded[pid])

    def let_go(self, pid: int) -> None:
        """A child is gone, and its number may soon be another's."""
        with self._lock:
            self._minded.pop(pid, None)
            self._tell(pid)
            if self._minded:
                return
            idle, self._process = self._process, None
        _end(idle)  # the next child need not wait for that

    def _tell(self, *numbers: int) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.write(f"{' '.join(map(str, numbers))}\n".encode("ascii"))


def _end(process: subprocess.Popen[bytes] | None) -> None:
    """It is told to, because a fork of this process may keep its input open."""
    if process is None or process.stdin is None:
        return
    with suppress(BrokenPipeError):
        process.stdin.write(families.END + b"\n")
    process.stdin.close()
    try:
        process.wait(ENDS_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:  # a collector may have stopped it
        process.kill()
        process.wait()


def _started() -> subprocess.Popen[bytes]:
    command = [get_executable(), "-I", "-S", families.__file__]
    with families.deaf():
        return subprocess.Popen(  # noqa: S603 - our own interpreter, with a file of ours
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
