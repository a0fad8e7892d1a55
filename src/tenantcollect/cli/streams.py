"""The streams of a command: its own words, and what other people's code prints meanwhile (floor: cli).

stdout carries the answer and nothing else. While other people's code may run, it finds something else in the place
of both streams; ``out()`` and ``err()`` are the command's own all the time.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO, cast

READER_WENT_AWAY = 141
"""What a shell reports for a command whose reader closed the pipe, as ``| head`` does."""
UNWRITABLE = 74
"""EX_IOERR of sysexits.h: the answer could not be written, as on a full disk."""
ESCAPED = "backslashreplace"
"""A tenant's name must not break an ASCII terminal."""


class OutputLost(Exception):
    """The answer of the command cannot be written; ``code`` is what the command ends with."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or type(error).__name__)
        self.code = READER_WENT_AWAY if isinstance(error, BrokenPipeError) else UNWRITABLE


class Own:
    """A stream of the command's own; what cannot be written to it costs the words, never the command.

    ``command()`` is how a next command begins that means the same database.
    """

    def __init__(self, stream: TextIO, command: Callable[[], str]) -> None:
        self._stream, self.command = stream, command
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ESCAPED)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write ``text``, or see :meth:`lost`."""
        try:
            self._stream.write(text)
        except OSError as error:
            self.lost(error)
        return len(text)

    def flush(self) -> None:
        """Write what was kept back, or see :meth:`lost`."""
        try:
            self._stream.flush()
        except OSError as error:
            self.lost(error)

    def lost(self, _: OSError) -> None:
        """From now on it goes nowhere, also what Python itself has left to write at the end."""
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class Answers(Own):
    """The stdout of the command: an answer that cannot be given is no answer."""

    def lost(self, error: OSError) -> None:
        """As above. Raises :class:`OutputLost`."""
        super().lost(error)
        raise OutputLost(error) from error


class Aside:
    """What other people's code finds in the place of ``ours``: it goes to stderr, and cannot drive the terminal."""

    def __init__(self, ours: TextIO, stderr: TextIO) -> None:
        self.ours, self._stderr = ours, stderr

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stderr, name)

    def isatty(self) -> bool:
        """No: what is written here is not for drawing."""
        return False

    def write(self, text: str) -> int:
        """Each line, escaped and cut."""
        from tenantcollect.secrets import one_line, storable

        self._stderr.write("\n".join(one_line(storable(line.expandtabs())) for line in text.split("\n")))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """As :meth:`write`."""
        for line in lines:
            self.write(line)

    def close(self) -> None:
        """It is not theirs to close."""


def out() -> TextIO:
    """The command's own stdout."""
    return cast(TextIO, getattr(sys.stdout, "ours", sys.stdout))


def err() -> TextIO:
    """The command's own stderr."""
    return cast(TextIO, getattr(sys.stderr, "ours", sys.stderr))


@contextmanager
def aside() -> Iterator[None]:
    """Inside, other people's code may run: what it prints goes to stderr, harmless, but neither masked nor kept."""
    stderr = sys.stderr
    with (
        redirect_stdout(cast(TextIO, Aside(out(), stderr))),
        redirect_stderr(cast(TextIO, Aside(err(), stderr))),
    ):
        yield


@contextmanager
def own_streams(command: Callable[[], str]) -> Iterator[None]:
    """Inside, both streams are the command's: see :class:`Own` and :class:`Answers`."""
    _open_closed()
    with (
        _apart(sys.stdout, sys.stderr) as stdout,
        redirect_stdout(cast(TextIO, Answers(stdout, command))),
        redirect_stderr(cast(TextIO, Own(sys.stderr, command))),
    ):
        try:
            yield
        finally:
            with suppress(OutputLost):
                sys.stdout.flush()


def _open_closed() -> None:
    """A stream that the caller has closed is /dev/null: a file that is opened later must not take its number."""
    for number, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


@contextmanager
def _apart(stdout: TextIO, stderr: TextIO) -> Iterator[TextIO]:
    """``stdout`` by a descriptor of its own: what programs that are started write to the old one goes to stderr.

    A stream without a descriptor, such as a test's, is used as it is.
    """
    try:
        number, instead = stdout.fileno(), stderr.fileno()
    except OSError:
        yield stdout
        return
    stdout.flush()
    with os.fdopen(os.dup(number), "w", encoding=stdout.encoding) as own:
        os.dup2(instead, number)
        try:
            yield own
        finally:
            with suppress(OSError):
                stdout.flush()
            os.dup2(own.fileno(), number)
