"""Goes on in a child process, so that what hangs or exits in it cannot answer for the command (floor: cli).

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

from tenantcollect.cli.target import Target

ALLOWANCE = 5.0
"""Seconds that a task may be late: who waits for it in the child needs a moment to say so."""
LOOK_EVERY_SECONDS = 1.0
"""A program that the child has left behind may hold the pipe, which then has no end."""
CHUNK = 65536

Begin = Callable[[str], None]


def apart(target: Target, seconds: float) -> Begin:
    """Go on in a child, which says by ``begin(what)`` what it does now, and by ``begin("")`` that it is done.

    The parent does not return, it ends as the child did. There, a task that takes longer than ``seconds`` (it is
    killed) or that ends the process raises :class:`TenantcollectError`. Where the process is not the command's alone,
    it has no child, and nobody is told.
    """
    if not target.whole:
        return lambda _: None
    reading, writing = os.pipe()
    child = Child(os.fork())
    if child.number:
        os.close(writing)
        with child.killed_at_the_end():
            raise typer.Exit(_watched(child, reading, seconds))
    os.close(reading)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent tells of it
    target.apart = True
    return lambda what: _say(writing, what)


class Child:
    """A child process; ``code`` is its exit code once it has ended."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.code: int | None = None

    def ended(self, options: int = os.WNOHANG) -> bool:
        """Whether it has; without options, when it has."""
        if self.code is None:
            number, status = os.waitpid(self.number, options)
            self.code = os.waitstatus_to_exitcode(status) if number else None
        return self.code is not None

    @contextmanager
    def killed_at_the_end(self) -> Iterator[None]:
        """However the parent ends, the child does not outlive it."""

        def kill(number: int, _: object) -> None:
            os.kill(self.number, signal.SIGKILL)
            os._exit(128 + number)

        before = signal.signal(signal.SIGTERM, kill)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
            if not self.ended():
                os.kill(self.number, signal.SIGKILL)
                self.ended(0)


def _say(writing: int, what: str) -> None:
    with suppress(BrokenPipeError):
        os.write(writing, f"{what}\n".encode(errors="replace"))


def _watched(child: Child, reading: int, seconds: float) -> int:
    """The exit code of the child, which nothing but the child's own words decided."""
    from tenantcollect.errors import TenantcollectError

    doing, until, going_on = "", math.inf, True
    while going_on:
        if select([reading], [], [], LOOK_EVERY_SECONDS)[0]:
            said = os.read(reading, CHUNK).decode(errors="replace").splitlines()
            doing, until, going_on = (said or [doing])[-1], time.monotonic() + seconds + ALLOWANCE, bool(said)
        elif doing and time.monotonic() > until:
            raise TenantcollectError(
                f"{doing} did not end within {seconds:g} s, and could not be interrupted: its process was killed"
            )
        else:
            going_on = not child.ended()
    child.ended(0)
    code = child.code or 0
    if doing:
        raise TenantcollectError(f"{doing} ended the process ({_how(code)}); only the command may do that")
    return code if code >= 0 else 128 - code


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
