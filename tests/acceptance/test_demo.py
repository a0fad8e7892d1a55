"""The first five minutes, as a newcomer spends them: the demo on a real repository, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa


def git(folder: Path, *words: str, given: str | None = None) -> str:
    """Run git and return what it prints."""
    done = subprocess.run(["git", "-C", str(folder), *words], input=given, text=True, capture_output=True, check=True)
    return done.stdout.strip()


def grow(folder: Path, commits: int, years: int) -> None:
    """A repository with this many commits over this many years, on two branches, with a tag."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    step = years * 365 * 86400 // commits
    first = 1_400_000_000
    lines = []
    for n in range(commits):
        branch = "main" if n % 5 else "side"
        when = first + n * step
        lines += [
            f"commit refs/heads/{branch}",
            f"committer Ann <ann{n % 7}@example.org> {when} +0100",
            "data 4",
            f"c{n % 1000:03}",
        ]
    lines += ["reset refs/tags/v1", "from refs/heads/main", ""]
    git(folder, "fast-import", "--quiet", given="\n".join(lines))


def tenantcollect(url: str, *words: str, cwd: Path, code: int = 0) -> str:
    """The command, expected to end with ``code``."""
    done = subprocess.run(
        [sys.executable, "-m", "tenantcollect", *words],
        env={**os.environ, "TENANTCOLLECT_DATABASE_URL": url},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr if "--json" not in words else done.stdout


@pytest.mark.parametrize(("commits", "years"), [(40, 1), (5000, 10)])
def test_demo_collects_what_git_counts(database_url: str, tmp_path: Path, commits: int, years: int) -> None:
    """Each tenant's commit rows equal what git counts for the refs it sees; a second run finds nothing to do."""
    repository = tmp_path / "repository"
    grow(repository, commits, years)
    tenantcollect(database_url, "demo", "--repo", str(repository), cwd=tmp_path)
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        counted = sa.text("SELECT tenant_id, count(*) FROM git_commit GROUP BY tenant_id")
        counts = {row[0]: row[1] for row in connection.execute(counted)}
    engine.dispose()
    assert max(counts.values()) == int(git(repository, "rev-list", "--all", "--count")) == commits
    assert min(counts.values()) == int(git(repository, "rev-list", "main", "--count"))
    report = json.loads(tenantcollect(database_url, "run", "--json", cwd=tmp_path))
    assert report["windows"] == {"completed": 0, "failed": 0, "waiting": 0, "busy": 0}
    status = json.loads(tenantcollect(database_url, "status", "--json", cwd=tmp_path))
    assert {row["status"] for row in status["rows"]} == {"COMPLETED"}


def test_demo_says_what_is_wrong_with_the_path(tmp_path: Path) -> None:
    """A path that is no repository is a mistake of the command line, said in one line."""
    said = tenantcollect(f"sqlite:///{tmp_path / 'a.db'}", "demo", "--repo", str(tmp_path), cwd=tmp_path, code=2)
    assert "Traceback" not in said
    assert str(tmp_path) in said
