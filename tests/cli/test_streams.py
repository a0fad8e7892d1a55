"""stdout carries the answer and nothing else; what cannot be written changes no exit code but its own."""

import subprocess
from pathlib import Path
from shlex import join

import pytest

from tests.cli.conftest import Command, Ended, arguments, environment


@pytest.mark.parametrize(
    "words", ["plugins", "status", "check", "config list", "trigger acme", "run --max-windows 1", "doctor"]
)
def test_what_others_print_is_no_part_of_the_answer(tenantcollect: Command, words: str) -> None:
    """Of no command, wherever their code runs: it is on stderr, where it can neither drive the terminal nor flood."""
    ended = tenantcollect("--app", "noisy:build", *words.split(), "--json")
    assert ended.json["schema_version"] == 1
    assert "noise" not in ended.out
    assert "no\\x1b[31mise while it is imported\n" in ended.err
    assert "\x1b" not in ended.err
    assert "of a program\n" in ended.err
    assert max(map(len, ended.err.splitlines())) < 5000


def redirected(folder: Path, words: str, redirection: str) -> Ended:
    """How a command ends whose streams the shell has redirected."""
    command = f"{join(arguments(*words.split()))} {redirection}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment(), capture_output=True, timeout=60, check=False
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("words", ["--app hub:build status", "--app hub:build status --json", "--help"])
def test_an_answer_that_cannot_be_written_has_an_exit_code_of_its_own(folder: Path, words: str) -> None:
    """A full disk is neither a bug of ours nor an answer given: 74, and one line."""
    ended = redirected(folder, words, ">/dev/full")
    assert (ended.code, len(ended.err.splitlines())) == (74, 1)
    assert "the output cannot be written (No space left on device)" in ended.err


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "<&-", ">&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("--app hub:build status", 0),
        ("statsu", 2),
        ("--app hub:build status --stale", 3),
        ("status", 4),
        ("config set acme git GIT_REPOSITORY=-", 2),
    ],
)
def test_a_stream_that_is_closed_or_full_changes_no_exit_code(
    folder: Path, words: str, code: int, redirection: str
) -> None:
    """Who closes a stream does not want to hear, but a script still asks for the exit code."""
    ended = redirected(folder, words, redirection)
    assert ended.code == code
    assert "Traceback" not in ended.err


def test_an_error_after_the_first_rows_keeps_its_exit_code(folder: Path) -> None:
    """What was kept back of an answer on a full disk cannot hide why the command failed."""
    assert redirected(folder, "--app hub:leaving status", ">/dev/full").code == 3
