"""The three scripts and the source on SQLite and PostgreSQL, one window at a time."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from tenantcollect.sources.git import commit, contributor, repository, source
from tenantcollect.sources.git.schema import BRANCH, COMMIT, CONTRIBUTOR, METADATA, TAG
from tenantcollect.sources.git.settings import GitSettings

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 86_400


def at(second: float) -> datetime:
    """The instant so many seconds after 1970."""
    return EPOCH + timedelta(seconds=second)


@pytest.fixture(name="forge")
def _forge(repository):
    return repository


@pytest.fixture
def settings(forge) -> GitSettings:
    """The whole history of the repository."""
    return GitSettings(GIT_REPOSITORY=str(forge.path))


def narrowed(settings: GitSettings, refs: str) -> GitSettings:
    """The same repository, seen through ``refs``."""
    return GitSettings(GIT_REPOSITORY=settings.GIT_REPOSITORY, GIT_REFS=refs)


def test_a_snapshot_holds_the_branches_and_tags_of_now(bench, forge, settings):
    """Branches and tags stand there with their commits and dates."""
    sha = forge.commit(100)
    forge.commit(200, on="side")
    forge.git("tag", "v1", sha)
    forge.git("tag", "-a", "-m", "x", "v2", sha)
    assert bench.run(repository, settings) == 4
    main, side = bench.rows(BRANCH)
    assert (main.ref, main.commit_sha, main.committed_at, main.is_current) == (
        "refs/heads/main",
        sha,
        at(100),
        True,
    )
    assert (side.ref, side.committed_at, side.is_current) == ("refs/heads/side", at(200), False)
    light, annotated = bench.rows(TAG)
    assert (light.name, light.commit_sha, light.tagged_at, light.is_annotated) == ("v1", sha, at(100), False)
    assert (annotated.name, annotated.commit_sha, annotated.is_annotated) == ("v2", sha, True)


def test_what_vanished_is_deleted_for_its_tenant_only(bench, forge, settings):
    """A deleted branch and a deleted tag leave this tenant's rows and no other's."""
    sha = forge.commit(100)
    forge.commit(200, on="side")
    forge.git("tag", "v1", sha)
    for tenant_id in ("acme", "globex"):
        bench.run(repository, settings, tenant_id=tenant_id)
    forge.git("update-ref", "-d", "refs/heads/side")
    forge.git("tag", "-d", "v1")
    assert bench.run(repository, settings) == 1
    assert [row.ref for row in bench.rows(BRANCH)] == ["refs/heads/main"]
    assert bench.rows(TAG) == []
    assert len(bench.rows(BRANCH, "globex")) == 2
    assert len(bench.rows(TAG, "globex")) == 1


def test_a_thousand_vanished_branches_are_deleted(bench, forge, settings):
    """More names than one statement takes are deleted all the same."""
    sha = forge.commit(100)
    lines = [f"create refs/heads/b{number} {sha}\n" for number in range(1200)]
    forge.git("update-ref", "--stdin", given="".join(lines).encode())
    assert bench.run(repository, settings) == 1201
    assert bench.run(repository, narrowed(settings, "main")) == 1
    assert len(bench.rows(BRANCH)) == 1


def test_an_unchanged_clone_opens_no_transaction(bench, forge, settings):
    """The second snapshot of an unchanged clone writes nothing."""
    sha = forge.commit(100)
    forge.git("tag", "-a", "-m", "x", "v2", sha)
    bench.run(repository, settings)
    bench.run(repository, settings)
    assert not bench.last.db.in_transaction()
    assert bench.last.statements == 0


def test_commits_fall_into_their_windows_and_no_other(bench, forge, settings):
    """Adjacent windows collect each commit once; the sum is what git counts."""
    forge.many([0, 5, DAY - 1, DAY, DAY, DAY + 1, 3 * DAY, 2 * DAY])
    counts = [bench.run(commit, settings, at(day * DAY), at((day + 1) * DAY)) for day in range(4)]
    assert counts == [3, 3, 1, 1]
    assert len(bench.rows(COMMIT)) == int(forge.git("rev-list", "--count", "--all"))


def test_a_commit_row_tells_the_commit(bench, forge, settings):
    """A row holds author, dates in UTC, subject and number of parents."""
    sha = forge.commit(100, message=b"one\xff\n\nbody", author=b"Ada <ada@x>")
    bench.run(commit, settings)
    assert [tuple(row) for row in bench.rows(COMMIT)] == [
        ("acme", sha, "Ada", "ada@x", at(100), at(100), "one\ufffd", 0)
    ]


def test_two_tenants_see_what_their_refs_reach(bench, forge, settings):
    """Each tenant has the rows of its own refs, on every row its name."""
    forge.many([1, 2, 3])
    forge.many([4, 5], on="secret")
    bench.run(commit, settings, tenant_id="acme")
    bench.run(commit, narrowed(settings, "main"), tenant_id="globex")
    assert [len(bench.rows(COMMIT, tenant)) for tenant in ("acme", "globex")] == [5, 3]


def test_a_window_again_changes_nothing(bench, forge, settings):
    """Collecting a window twice leaves each row once."""
    forge.many([1, 2, 3])
    for _ in range(2):
        assert bench.run(commit, settings) == 3
    assert len(bench.rows(COMMIT)) == 3


def test_a_commit_that_came_late_is_found_by_the_lookback(bench, forge, settings):
    """A commit pushed after its time was collected is added by a later window, and only once."""
    forge.many([DAY, 2 * DAY])
    bench.run(commit, settings, EPOCH, at(30 * DAY))
    forge.many([5 * DAY], on="pushed-late")
    window = (at(30 * DAY), at(60 * DAY))
    assert bench.run(commit, settings, *window, told=EPOCH) == 1
    assert bench.run(commit, settings, *window, told=EPOCH) == 0
    assert bench.last.statements == 0
    assert len(bench.rows(COMMIT)) == 3


def test_the_lookback_stops_at_the_history_start(bench, forge, settings):
    """Nothing before the key's history start is collected, however far the lookback reaches."""
    forge.many([DAY, 40 * DAY])
    start = at(30 * DAY)
    assert bench.run(commit, settings, start, at(60 * DAY), told=EPOCH, history_start=start) == 1
    assert [row.committed_at for row in bench.rows(COMMIT)] == [at(40 * DAY)]


def test_a_crowded_window_is_sealed_in_parts(bench, forge, settings, monkeypatch):
    """Parts end between two seconds; a second with more commits than a part is never cut."""
    monkeypatch.setattr(commit, "PART", 2)
    forge.many([10, 10, 10, 11, 12, 13, 14])
    assert bench.run(commit, settings) == 7
    assert bench.last.sealed == [at(12), at(14)]
    assert bench.last.reported == [(2, 7), (4, 7), (6, 7), (7, 7)]
    assert len(bench.rows(COMMIT)) == 7


def test_late_commits_are_never_sealed_on_their_own(bench, forge, settings, monkeypatch):
    """No seal ends before the window begins, though its late commits come first."""
    monkeypatch.setattr(commit, "PART", 1)
    forge.many([10, 11, DAY, DAY + 1])
    assert bench.run(commit, settings, at(DAY), at(2 * DAY), told=EPOCH) == 4
    assert bench.last.sealed == [at(DAY + 1)]


def test_a_cancelled_window_writes_nothing(bench, forge, settings):
    """A cancellation ends the window before its rows."""
    forge.many([1, 2, 3])
    with pytest.raises(KeyboardInterrupt):
        bench.run(commit, settings, cancelled=True)
    assert bench.rows(COMMIT) == []


def test_contributors_span_their_commits_in_any_order_of_windows(bench, forge, settings):
    """First and last commit and the newest name are the same, whichever window comes first or twice."""
    forge.commit(10, author=b"Ada <ada@x>")
    forge.commit(DAY + 5, author=b"Bob <bob@x>")
    forge.commit(DAY + 10, author=b"Ada Byron <ada@x>")
    forge.commit(2 * DAY, author=b"A. Byron <ada@x>")
    bench.run(commit, settings)
    for day in (1, 0, 2, 1):
        bench.run(contributor, settings, at(day * DAY), at((day + 1) * DAY))
    assert [tuple(row) for row in bench.rows(CONTRIBUTOR)] == [
        ("acme", "ada@x", "A. Byron", at(10), at(2 * DAY)),
        ("acme", "bob@x", "Bob", at(DAY + 5), at(DAY + 5)),
    ]


def test_contributors_already_known_are_not_written_again(bench, forge, settings):
    """A window that widens nobody writes nothing; empty addresses are one contributor."""
    forge.commit(10, author=b"Ada <>")
    forge.commit(20, author=b"Bob <>")
    bench.run(commit, settings)
    assert bench.run(contributor, settings) == 1
    assert bench.run(contributor, settings) == 0
    assert [tuple(row)[1:3] for row in bench.rows(CONTRIBUTOR)] == [("", "Bob")]


def test_contributors_come_from_their_own_tenant(bench, forge, settings):
    """The commits of one tenant make no contributor of another."""
    forge.commit(10)
    bench.run(commit, settings, tenant_id="acme")
    assert bench.run(contributor, settings, tenant_id="globex") == 0


def test_erase_takes_every_row_of_the_tenant_and_no_other(bench, forge, settings):
    """After erase no table knows the tenant; its neighbour keeps all."""
    forge.git("tag", "v1", forge.commit(10))
    for tenant_id in ("acme", "globex"):
        for script in (repository, commit, contributor):
            bench.run(script, settings, tenant_id=tenant_id)
    with Session(bench.engine) as db:
        source.erase(db, "acme")
        db.commit()
    tables = METADATA.tables.values()
    assert [len(bench.rows(table)) for table in tables] == [0, 0, 0, 0]
    assert [len(bench.rows(table, "globex")) for table in tables] == [1, 1, 1, 1]


def test_the_tenant_is_in_every_primary_key():
    """No two tenants can meet in one row."""
    for table in source.tables().tables.values():
        assert "tenant_id" in table.primary_key.columns
        assert table.name.startswith("git_")


def test_a_naive_datetime_is_refused(bench):
    """A datetime without a zone does not enter a table."""
    row = {"tenant_id": "acme", "name": "v1", "is_annotated": False, "tagged_at": datetime(2026, 1, 1)}  # noqa: DTZ001
    with Session(bench.engine) as db, pytest.raises(StatementError, match="without a time zone"):
        db.execute(insert(TAG).values(row))
