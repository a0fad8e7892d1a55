"""What the demo must know of a git clone before it configures one (floor: cli)."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tenantcollect.errors import ConfigurationError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_SECOND = 253_402_300_799
HEADS = "refs/heads/"


def first_commit_at(repository: Path) -> datetime:
    """The oldest committer date of the whole history; a date that no calendar holds counts as 1970.

    Raises :class:`ConfigurationError` if there is no git, no repository or no commit.
    """
    oldest = None
    for line in _git(repository, "rev-list", "--all", "--timestamp"):
        second = _second(line.partition(" ")[0])
        oldest = second if oldest is None else min(oldest, second)
    if oldest is None:
        raise ConfigurationError(f"--repo {repository}: the repository has no commit yet; the demo collects commits")
    return EPOCH + timedelta(seconds=oldest)


def current_branch(repository: Path) -> str:
    """The ref that HEAD stands on, else the first branch or tag that holds HEAD, else the first there is.

    Empty if there is none: a clone of one detached commit.
    """
    refs = _git(repository, "for-each-ref", "--format=%(HEAD) %(refname)", HEADS, "refs/tags/", "refs/remotes/")
    here = [name for mark, _, name in (ref.partition(" ") for ref in refs) if mark == "*"]
    return next(iter(here or [ref[2:] for ref in refs]), "")


def _git(repository: Path, *arguments: str) -> list[str]:
    inner = repository / ".git"
    if not repository.is_dir():
        raise ConfigurationError(f"--repo {repository}: there is no such folder; give the folder of a git clone")
    command = ["git", f"--git-dir={inner if inner.exists() else repository}", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603 - no shell
    except OSError as error:
        raise ConfigurationError(f"git cannot be started ({error.strerror}); install git and put it on PATH") from None
    if done.returncode:
        raise _explained(repository, done.stderr.decode("utf-8", "replace").strip())
    return [line for line in done.stdout.decode("utf-8", "surrogateescape").split("\n") if line]


def _explained(repository: Path, said: str) -> ConfigurationError:
    if "not a git repository" in said:
        said = "is not the top folder of a git repository; give the folder that holds .git, or a bare clone"
        return ConfigurationError(f"--repo {repository}: {said}")
    return ConfigurationError(f"--repo {repository}: git cannot read it: {said[-500:]}")


def _second(text: str) -> int:
    try:
        second = int(text)
    except ValueError:
        return 0
    return second if 0 <= second <= LAST_SECOND else 0
