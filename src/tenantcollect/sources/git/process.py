"""Runs git and streams what it prints; knows nothing of tenants or collectors."""

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from tenantcollect import ConfigurationError

LONGEST_CALL = 600.0
"""Seconds after which a call of git is killed: a dead network mount must not hold a worker for ever."""

BLOCK = 1 << 16


class GitError(Exception):
    """git could not read the repository this time; the window is tried again."""


def ignore() -> None:
    """Do nothing between two blocks of output: the default where there is nothing to cancel."""


def git_dir(path: str) -> Path:
    """The git directory of ``path``, to be named outright.

    Discovery would walk up: a clone that is missing inside another repository would be read as that one, and
    a clone of another owner would be refused. Naming the directory switches both off.
    """
    inner = Path(path, ".git")
    return inner if inner.exists() else Path(path)


def records(
    path: str,
    *arguments: str,
    separator: bytes = b"\n",
    given: Iterable[str] = (),
    between: Callable[[], None] = ignore,
) -> Iterator[bytes]:
    """Yield what ``git ARGUMENTS`` prints about exactly the repository at ``path``, record by record.

    ``given`` are the lines of its standard input: whatever comes from a tenant or a repository travels there,
    never as an argument. ``between`` is called between two blocks of output and may raise to end the reading;
    git is gone when the generator is closed. Memory is bounded by one block and one record.

    Raises :class:`ConfigurationError` where only a person can help, else :class:`GitError`.
    """
    with tempfile.TemporaryFile() as spoken, tempfile.TemporaryFile() as fed:
        # Files, not pipes: neither a long input nor a flood of warnings can block us against git.
        fed.writelines(f"{line}\n".encode() for line in given)
        fed.seek(0)
        with _running(path, arguments, fed, spoken) as process:
            yield from _split(cast("IO[bytes]", process.stdout), separator, between)
        if process.returncode:
            raise _explained(path, process.returncode, _tail(spoken))


@contextmanager
def _running(
    path: str, arguments: tuple[str, ...], fed: IO[bytes], spoken: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    process = _started(path, arguments, fed, spoken)
    watchdog = threading.Timer(LONGEST_CALL, process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        with process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise
    finally:
        watchdog.cancel()


def _started(path: str, arguments: tuple[str, ...], fed: IO[bytes], spoken: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            ["git", "--no-pager", "-c", "protocol.allow=never", f"--git-dir={git_dir(path)}", *arguments],
            cwd=path,
            env=_environment(),
            stdin=fed,
            stdout=subprocess.PIPE,
            stderr=spoken,
            start_new_session=True,  # Ctrl-C lets open windows drain: it must not reach their git
        )
    except OSError as error:
        raise _unstartable(path, error) from error


def _environment() -> dict[str, str]:
    """The environment for git: ours without any ``GIT_*``; in English, no question, no lock, no network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    fixed = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
    return kept | fixed | {"LC_ALL": "C"}


def _split(stream: IO[bytes], separator: bytes, between: Callable[[], None]) -> Iterator[bytes]:
    unfinished: list[bytes] = []
    while block := stream.read(BLOCK):
        between()
        first, *more = block.split(separator)
        unfinished.append(first)
        if more:
            yield b"".join(unfinished)
            yield from more[:-1]
            unfinished = [more[-1]]
    if last := b"".join(unfinished):
        yield last


def _tail(spoken: IO[bytes]) -> str:
    """The end of what git said, where its reason stands."""
    spoken.seek(max(spoken.seek(0, os.SEEK_END) - 1000, 0))
    return " ".join(spoken.read().decode("utf-8", "replace").split())


def wrong_repository(problem: str) -> ConfigurationError:
    """The error for a repository that only another ``GIT_REPOSITORY`` or another permission cures."""
    return ConfigurationError(f"GIT_REPOSITORY: {problem}", fields={"GIT_REPOSITORY": problem})


def _unstartable(path: str, error: OSError) -> ConfigurationError:
    if not Path(path).is_dir():
        return wrong_repository(
            f"there is no folder {path!r} on this machine; clone the repository there "
            "(git clone --mirror URL FOLDER) or correct GIT_REPOSITORY"
        )
    if not os.access(path, os.R_OK | os.X_OK):
        return wrong_repository(f"the folder {path!r} may not be read by this user; grant it read access")
    return ConfigurationError(f"git cannot be started ({error.strerror}); install git and put it on PATH")


def _explained(path: str, code: int, said: str) -> Exception:
    if "not a git repository" in said:
        return wrong_repository(
            f"{path!r} is not the top folder of a git repository; give the folder that holds .git, or a bare clone"
        )
    if "ermission denied" in said:
        return wrong_repository(f"git may not read {path!r}; grant this user read access ({said})")
    if code < 0:
        return GitError(f"git was stopped by signal {-code} (its limit is {LONGEST_CALL:g} s) in {path!r}")
    return GitError(f"git failed with code {code} in {path!r}: {said}")
