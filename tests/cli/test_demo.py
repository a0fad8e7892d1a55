import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Command

HOUR = 3600
FIRST = int(time.time()) - 160 * 24 * HOUR


def git(repository: Path, *words: str, at: int = FIRST) -> str:
    """Run git in the repository, at a time."""
    author = {"GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.org", "GIT_AUTHOR_DATE": f"{at} +0000"}
    committer = {name.replace("AUTHOR", "COMMITTER"): value for name, value in author.items()}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *words],
        cwd=repository,
        env={**kept, **author, **committer},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone of 12 commits, 9 of them on main, 3 more on a side branch; one tag."""
    repository = tmp_path / "clone"
    repository.mkdir()
    git(repository, "init")
    for number in range(9):
        git(repository, "commit", "--allow-empty", "-m", f"main {number}", at=FIRST + number * 400 * HOUR)
    git(repository, "tag", "v1")
    git(repository, "checkout", "-b", "side", "HEAD~4")
    for number in range(3):
        git(repository, "commit", "--allow-empty", "-m", f"side {number}", at=FIRST + number * 300 * HOUR)
    git(repository, "checkout", "main")
    return repository


def commits(ended_rows: list[dict[str, object]]) -> dict[object, object]:
    """The commit rows per tenant."""
    return {row["tenant_id"]: row["rows"] for row in ended_rows if row["script"] == "commit"}


def test_the_rows_are_what_each_tenant_may_see(tenantcollect: Command, repository: Path, database_url: str) -> None:
    """Commit rows equal ``git rev-list --count`` of the whole history and of one branch, on both databases."""
    ended = tenantcollect("demo", "--repo", repository, "--json", TENANTCOLLECT_DATABASE_URL=database_url)
    assert (ended.code, ended.err) == (0, "")
    whole, main = (int(git(repository, "rev-list", "--count", ref)) for ref in ("--all", "main"))
    assert commits(ended.rows) == {"acme": whole, "globex": main} == {"acme": 12, "globex": 9}
    assert ended.json["windows"]["failed"] == 0


def test_the_demo_shows_plan_freshness_and_what_next(tenantcollect: Command, repository: Path) -> None:
    """What a newcomer sees: a plan, a table of freshness, three commands that work."""
    ended = tenantcollect("demo", "--repo", repository)
    assert ended.code == 0
    assert "sqlite:///tenantcollect.db" in ended.out
    for part in ("plan", "freshness", "acme/git/commit", "globex/git/contributor"):
        assert part in ended.out
    commands = [line.split() for line in ended.out.splitlines() if line.startswith("  tenantcollect ")]
    assert [words[1] for words in commands] == ["run", "explain", "history"]


def test_a_second_run_finds_nothing_to_do(tenantcollect: Command, repository: Path) -> None:
    """Right after the demo all is collected: no short window waits, a pass does nothing and exits with 0."""
    tenantcollect("demo", "--repo", repository)
    ended = tenantcollect("run", "--json")
    assert ended.code == 0
    assert ended.json["windows"] == {"completed": 0, "failed": 0, "waiting": 0, "busy": 0}
    assert "nothing to do" in tenantcollect("run").out
    assert tenantcollect("status", "--stale").code == 0


def test_the_demo_can_be_run_twice(tenantcollect: Command, repository: Path) -> None:
    """Run again it changes nothing, also after HEAD moved to another branch."""
    first = tenantcollect("demo", "--repo", repository, "--json")
    git(repository, "checkout", "side")
    again = tenantcollect("demo", "--repo", repository, "--json")
    assert again.code == 0
    assert commits(again.rows) == commits(first.rows)


def test_another_repository_needs_another_database(tenantcollect: Command, repository: Path, tmp_path: Path) -> None:
    """The rows of one repository are never mixed with those of another."""
    tenantcollect("demo", "--repo", repository)
    git(tmp_path, "clone", "-q", str(repository), "other")
    refused = tenantcollect("demo", "--repo", tmp_path / "other")
    assert (refused.code, "--database-url" in refused.err) == (2, True)
    assert tenantcollect("demo", "--repo", tmp_path / "other", "--database-url", "sqlite:///other.db").code == 0


def test_a_detached_or_bare_clone_can_be_shown(tenantcollect: Command, repository: Path, tmp_path: Path) -> None:
    """A CI checkout stands on no branch, a server's clone has no work tree: both work."""
    git(tmp_path, "clone", "-q", "--bare", str(repository), "bare.git")
    assert tenantcollect("demo", "--repo", "bare.git", "--database-url", "sqlite:///bare.db").code == 0
    git(repository, "checkout", "-q", "--detach")
    ended = tenantcollect("demo", "--repo", repository, "--json")
    assert ended.code == 0
    assert commits(ended.rows)["acme"] == 12


def test_what_is_no_repository_gives_2_and_makes_nothing(tenantcollect: Command, folder: Path) -> None:
    """A missing folder, a folder without a repository, a repository without a commit, a machine without git."""
    (folder / "plain").mkdir()
    (folder / "empty").mkdir()
    git(folder / "empty", "init")
    for path, part in (("nowhere", "no such folder"), ("plain", ".git"), ("empty", "no commit")):
        ended = tenantcollect("demo", "--repo", path)
        assert (ended.code, ended.out) == (2, "")
        assert part in ended.err
    assert "install git" in tenantcollect("demo", "--repo", "empty", PATH="/nonexistent").err
    assert not (folder / "tenantcollect.db").exists()
