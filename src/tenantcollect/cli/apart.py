"""Does a task in a child process, so that what hangs or exits in it cannot answer for the command (floor: cli).

No thread can watch over code that keeps the interpreter to itself, and nothing in a process survives ``os._exit``.
"""

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from select import select

import typer

from tenantcollect.cli.streams import err, out
from tenantcollect.cli.target import Target

LOOK_EVERY_SECONDS = 1.0
"""A process that the child has forked may hold the pipe, which then has no end."""
END_EVERY_SECONDS = 0.02
CHUNK = 65536
UNHEARD = 74
"""What a child ends with that can say nothing more."""
ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)

Say = Callable[[str], None]
"""One line for the parent. Does not return where nobody hears it."""


class Child:
    """A child process in a session of its own. ``code`` is its exit code once it has ended; ``until`` (of the
    monotonic clock) is how long it is listened to.
    """

    def __init__(self, number: int, reading: int) -> None:
        self.number, self._reading = number, reading
        self.code: int | None = None
        self.until = math.inf

    def lines(self) -> Iterator[str]:
        """What it says, until it has ended or its time is up: that it can say nothing more is no end of it."""
        rest, heard = b"", True
        while True:
            over = self._ended() or time.monotonic() > self.until
            if heard and select([self._reading], [], [], 0 if over else LOOK_EVERY_SECONDS)[0]:
                read = os.read(self._reading, CHUNK)
                heard = bool(read)
                *lines, rest = (rest + read).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
            elif over:
                return
            elif not heard:
                time.sleep(END_EVERY_SECONDS)

    def _ended(self, options: int = os.WNOHANG) -> bool:
        """Whether it has; without options, when it has."""
        if self.code is None:
            number, status = os.waitpid(self.number, options)
            self.code = os.waitstatus_to_exitcode(status) if number else None
        return self.code is not None

    def end(self) -> None:
        """End it, and what it has started and left in its group."""
        self._kill()
        self._ended(0)
        os.close(self._reading)

    def end_with(self, number: int, _: object) -> None:
        """End it and this process, which a signal has ended."""
        self._kill()
        os._exit(128 + number)

    def _kill(self) -> None:
        with suppress(OSError):
            os.killpg(self.number, signal.SIGKILL)
        if self.code is None:
            os.kill(self.number, signal.SIGKILL)  # it may not have got as far as having a group of its own

    @property
    def how(self) -> str:
        """How it ended."""
        code = self.code or 0
        if code == UNHEARD:
            return "the files of the command were closed"
        return f"exit code {code}" if code >= 0 else f"signal {-code}"


@contextmanager
def apart(target: Target, task: Callable[[Say], None]) -> Iterator[Child]:
    """A child that does ``task`` and ends as a command does; it does not outlive what stands inside, however that ends.

    The child raises :class:`typer.Exit` from here, or what ``task`` raises. Nothing of others may run before, as it
    would be forked.
    """
    out().flush()  # else the child had it too
    err().flush()
    reading, writing = os.pipe()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who ignores it, as some callers do, is not told of exit codes
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    number = os.fork()
    if not number:
        os.setsid()
        os.close(reading)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent tells of it
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        target.apart = True
        task(lambda line: _say(writing, line))
        raise typer.Exit
    os.close(writing)
    child = Child(number, reading)
    ours = [one for one in ENDING if signal.getsignal(one) is signal.SIG_DFL]
    for one in ours:
        signal.signal(one, child.end_with)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield child
    finally:
        child.end()
        for one in ours:
            signal.signal(one, signal.SIG_DFL)


def _say(writing: int, line: str) -> None:
    left = f"{line}\n".encode(errors="replace")
    try:
        while left:
            left = left[os.write(writing, left) :]
    except OSError:
        os._exit(UNHEARD)
