"""Processes with all that they started: how they are begun, measured and ended (floor: contrib).

Run as a program, this is the watchdog: it reads which processes to mind, ends one that outgrows its limit, and all of
them when its own parent is gone. Their Python may hang, so nothing here asks it; and it imports nothing of ours.
"""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["DEAF_TO", "END", "deaf", "descendants", "end_family", "end_left_behind", "resident"]

DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK_EVERY_SECONDS = 1.0
MOST_ROUNDS = 100
END = b"end"
"""What ends the watchdog; its input may be kept open by a fork of its parent."""
KIB = 1024


@contextmanager
def deaf() -> Iterator[None]:
    """What is started inside is not ended by a signal that was meant for its parent: a terminal's Ctrl-C and a service
    manager's SIGTERM go to every process there is.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, DEAF_TO)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_family(pid: int) -> None:
    """End a process that is not reaped yet, its descendants (Linux) and its group.

    It is stopped first, so that it starts nothing more. What its descendants leave behind comes to it, if it adopts
    orphans, and is found in the next round.
    """
    _signal(pid, signal.SIGSTOP)
    ended: set[int] = set()
    with suppress(OSError):  # a host that has no files left cannot look for them
        for _ in range(MOST_ROUNDS):
            found = set(descendants(pid)) - ended
            if not found:
                break
            for one in found:
                _signal(one, signal.SIGKILL)
            ended |= found
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    _signal(pid, signal.SIGKILL)  # it may not have got as far as having a group of its own


def end_left_behind(pid: int) -> None:
    """End the group of a process that is gone. If the number is somebody else's by now, no such group was left."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass


def descendants(pid: int) -> Iterator[int]:
    """Whatever a process started that has it among its ancestors; nothing where the system does not say (Linux)."""
    asked = [pid]
    while asked:
        for file in Path(f"/proc/{asked.pop()}/task").glob("*/children"):
            with suppress(OSError):
                children = [int(one) for one in file.read_text(encoding="ascii").split()]
                yield from children
                asked += children


def resident(pid: int) -> int:
    """Bytes of memory that a process uses, alone or shared, without files; 0 where the system does not say (Linux)."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        sizes = dict(line.partition(":")[::2] for line in status.splitlines())
        return sum(int(sizes.get(name, "0").split()[0]) * KIB for name in ("RssAnon", "RssShmem"))
    return 0


def _signal(pid: int, number: int) -> None:
    with suppress(OSError):
        os.kill(pid, number)


def _born(pid: int) -> str | None:
    """When a process began, which tells it from a later one of the same number; None where the system does not say."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    return None


def _watch() -> None:
    """Read lines: ``PID LIMIT`` = mind this process (limit 0 = of any size), ``PID`` = no more, ``end`` = end."""
    parent, rest = os.getppid(), b""
    lines: list[bytes] = []
    minded: dict[int, tuple[str | None, int]] = {}
    while os.getppid() == parent and END not in lines:
        if select.select([0], [], [], LOOK_EVERY_SECONDS)[0]:
            read = os.read(0, 65536)
            if not read:
                break
            *lines, rest = (rest + read).split(b"\n")
            for line in (one for one in lines if one != END):
                pid, *limit = [int(number) for number in line.split()]
                minded.pop(pid, None)
                minded |= {pid: (_born(pid), limit[0])} if limit else {}
        for pid, (born, most) in minded.items():
            if most and resident(pid) > most and born == _born(pid):
                end_family(pid)
    for pid, (born, _) in minded.items():
        if born == _born(pid):
            end_family(pid)


if __name__ == "__main__":
    _watch()
