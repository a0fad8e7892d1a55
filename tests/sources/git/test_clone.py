"""Reading a clone: exact windows, hostile bytes, odd repositories, clear errors."""

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantcollect import ConfigurationError
from tenantcollect.sources.git.clone import Clone, commit_count, first_commit_at
from tenantcollect.sources.git.process import GitError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATER = datetime(2100, 1, 1, tzinfo=UTC)
NOON = 1_700_000_000


def at(second: float) -> datetime:
    """The instant so many seconds after 1970."""
    return EPOCH + timedelta(seconds=second)


def seconds(clone: Clone, start: datetime = EPOCH, end: datetime = LATER) -> list[int]:
    """The committer dates found, as seconds after 1970."""
    return [round(dated.committed_at.timestamp()) for dated in clone.dated(start, end)]


def test_a_window_is_half_open_to_the_microsecond(repository):
    """A commit on the start belongs to the window, one on the end to the next, whatever the microseconds."""
    for second in (NOON - 1, NOON, NOON + 1):
        repository.commit(second)
    clone = Clone(str(repository.path))
    assert seconds(clone, at(NOON), at(NOON + 1)) == [NOON]
    assert seconds(clone, at(NOON) + timedelta(microseconds=1), at(NOON + 1)) == []
    assert seconds(clone, at(NOON), at(NOON) + timedelta(microseconds=1)) == [NOON]
    assert seconds(clone, at(NOON - 1) + timedelta(microseconds=1), at(NOON)) == []


def test_unordered_dates_lose_no_commit(repository):
    """A child that is older than its parents is in its own window, where --since would stop."""
    repository.many([1000, NOON, 500, NOON + 9, 2000, 2000, NOON - 5])
    clone = Clone(str(repository.path))
    assert seconds(clone, EPOCH, at(3000)) == [500, 1000, 2000, 2000]
    assert seconds(clone) == [500, 1000, 2000, 2000, NOON - 5, NOON, NOON + 9]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dates=st.lists(st.integers(0, 5000), min_size=1, max_size=30), cut=st.integers(0, 5000))
def test_two_windows_share_and_lose_nothing(new_repository, tmp_path, dates, cut):
    """Whatever the dates and the border, each commit is in exactly one of two adjacent windows."""
    shutil.rmtree(tmp_path / "any.git", ignore_errors=True)
    repository = new_repository("any.git")
    repository.many(dates)
    clone = Clone(str(repository.path))
    before, after = (
        clone.dated(EPOCH, at(cut)) if cut else [],
        clone.dated(at(cut), LATER),
    )
    assert not {dated.sha for dated in before} & {dated.sha for dated in after}
    assert sorted(dates) == [round(d.committed_at.timestamp()) for d in [*before, *after]]


def test_commits_tell_author_dates_parents_and_subject(repository):
    """A commit is told whole: author, both dates in UTC, number of parents, first paragraph."""
    root = repository.commit(NOON, author=b"Ada Byron <ada@x>", message=b"one\nline\n\nbody")
    side = repository.commit(NOON + 1, on="side")
    merged = repository.commit(NOON + 2, merge=[side])
    clone = Clone(str(repository.path))
    first, second, third = clone.commits(clone.dated(EPOCH, LATER))
    assert (first.sha, first.parents, first.subject) == (root, 0, "one line")
    assert (first.author_name, first.author_email) == ("Ada Byron", "ada@x")
    assert first.authored_at == first.committed_at == at(NOON)
    assert (second.parents, third.sha, third.parents) == (0, merged, 2)


@pytest.mark.parametrize(
    ("message", "subject"),
    [
        (b"", ""),
        (b"\xff\xfe broken", "\ufffd\ufffd broken"),
        (b"\xed\xa0\x80 surrogate", "\ufffd\ufffd\ufffd surrogate"),
        ("naïve \u2028 one \x1b[31m record \x1e".encode(), "naïve \u2028 one \x1b[31m record \x1e"),
        (b"x" * 200_000, "x" * 500),
        ("é".encode() * 9_000, "é" * 500),
    ],
    ids=["empty", "broken", "surrogate", "separators", "long", "long é"],
)
def test_any_message_becomes_text_that_a_database_takes(repository, message, subject):
    """Broken UTF-8, surrogates, separators and floods in a message neither break nor shift the records."""
    repository.commit(NOON, message=message)
    repository.commit(NOON + 1, message=b"after")
    clone = Clone(str(repository.path))
    assert [commit.subject for commit in clone.commits(clone.dated(EPOCH, LATER))] == [subject, "after"]


def test_a_nul_in_a_message_ends_the_text_and_not_the_record(repository):
    """git shows a message up to its NUL, and the records after it stay aligned."""
    tree = repository.git("mktree")
    body = f"tree {tree}\nauthor A <a@x> 5 +0000\ncommitter A <a@x> 5 +0000\n\nbe\0fore\n".encode()
    sha = repository.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", given=body)
    repository.git("update-ref", "refs/heads/main", sha)
    repository.commit(NOON)
    clone = Clone(str(repository.path))
    assert [commit.subject for commit in clone.commits(clone.dated(EPOCH, LATER))] == ["be", "a change"]


def test_another_encoding_is_read(repository):
    """A commit that declares its encoding comes out as UTF-8."""
    tree = repository.git("mktree")
    body = f"tree {tree}\nauthor A <a@x> 5 +0000\ncommitter A <a@x> 5 +0000\nencoding ISO-8859-1\n\n".encode()
    sha = repository.git("hash-object", "-t", "commit", "-w", "--stdin", given=body + b"caf\xe9\n")
    repository.git("update-ref", "refs/heads/main", sha)
    clone = Clone(str(repository.path))
    assert [commit.subject for commit in clone.commits(clone.dated(EPOCH, LATER))] == ["café"]


def test_empty_names_and_emails_stay_empty(repository):
    """An author without a name or an address is collected as such."""
    repository.commit(NOON, author=b" <>")
    clone = Clone(str(repository.path))
    (commit,) = clone.commits(clone.dated(EPOCH, LATER))
    assert (commit.author_name, commit.author_email) == ("", "")


@pytest.mark.parametrize("date", [b"-100 +0000", b"xx", b"99999999999999999999999 +0000", b"17000000000000 +0000"])
def test_a_date_that_no_calendar_holds_is_the_epoch(repository, date):
    """A negative, unreadable or endless committer date counts as 1970, so that its commit is not lost."""
    sha = repository.raw_commit(b"a <a@x> " + date)
    repository.git("update-ref", "refs/heads/main", sha)
    clone = Clone(str(repository.path))
    (commit,) = clone.commits(clone.dated(EPOCH, at(1)))
    assert (commit.sha, commit.committed_at, commit.authored_at) == (sha, EPOCH, EPOCH)
    assert first_commit_at(clone.path) == EPOCH


def test_all_refs_means_what_git_means_by_all(repository):
    """Without GIT_REFS the count is that of ``git rev-list --count --all``, odd refs and HEAD included."""
    repository.commit(NOON)
    loose = repository.commit(NOON + 1, on="loose")
    repository.commit(NOON + 2, on="note")
    repository.git("update-ref", "refs/notes/odd", "refs/heads/note")
    repository.git("update-ref", "--no-deref", "HEAD", loose)
    repository.git("update-ref", "-d", "refs/heads/loose")
    path = str(repository.path)
    assert commit_count(path) == int(repository.git("rev-list", "--count", "--all")) == 3
    assert len(Clone(path).dated(EPOCH, LATER)) == 3


@pytest.mark.parametrize(
    ("refs", "seen"),
    [
        ("main", 2),
        ("refs/heads/main", 2),
        ("heads/main", 2),
        ("release/*", 2),
        ("main release/*", 4),
        ("v1", 1),
        ("v*", 1),
        ("nothing/*", 0),
        ("*", 5),
        ("feature", 1),
    ],
)
def test_a_tenant_sees_what_its_refs_reach(repository, refs, seen):
    """Names, full names, globs across slashes and tags each open exactly the history they reach."""
    repository.many([1, 2])
    repository.many([3], on="release/1")
    repository.many([4], on="release/2/x")
    repository.many([5], on="feature")
    repository.git("tag", "v1", "refs/heads/main~1")
    clone = Clone(str(repository.path), refs)
    assert clone.count() == len(clone.dated(EPOCH, LATER)) == seen
    assert commit_count(clone.path, refs) == seen


def test_a_misspelt_ref_is_an_error_and_not_an_empty_history(repository):
    """A name that stands for nothing says so, and how to find the right one."""
    repository.commit(NOON)
    with pytest.raises(ConfigurationError, match=r"no branch or tag 'mian'; .*for-each-ref") as raised:
        Clone(str(repository.path), "main mian").count()
    assert set(raised.value.fields) == {"GIT_REFS"}


def test_tags_lead_to_their_commits_through_tags(repository):
    """Light, annotated and nested tags give their commit; a tagged file gives none."""
    sha = repository.commit(NOON)
    blob = repository.git("hash-object", "-w", "--stdin", given=b"file")
    repository.git("tag", "a-light", sha)
    repository.git("tag", "-a", "-m", "x", "b-annotated", sha)
    repository.git("-c", "advice.nestedTag=false", "tag", "-a", "-m", "x", "c-nested", "b-annotated")
    repository.git("tag", "d-file", blob)
    repository.git("tag", "-a", "-m", "x", "e-file", blob)
    clone = Clone(str(repository.path))
    tags = [ref for ref in clone.visible_refs() if ref.is_tag]
    assert clone.commits_of(tags) == [sha, sha, sha, None, None]
    assert [tag.annotated for tag in tags] == [False, True, True, False, True]
    assert tags[0].created_at == at(NOON)
    assert clone.count() == 1


def test_an_empty_repository_is_no_error(repository):
    """A repository before its first commit has nothing to see, through any refs."""
    for refs in ("", "main", "v*"):
        clone = Clone(str(repository.path), refs)
        assert (clone.visible_refs(), clone.count(), clone.dated(EPOCH, LATER)) == ([], 0, [])
        assert list(clone.commits([])) == []
        assert first_commit_at(clone.path, refs) is None


def test_a_working_copy_and_a_shallow_clone_are_read(repository, tmp_path):
    """A clone with files is read by its top folder; a shallow one shows what it has, also after deepening."""
    repository.many([10, 20, 30])
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{repository.path}", str(shallow)], check=True)
    clone = Clone(str(shallow))
    assert seconds(clone) == [30]
    subprocess.run(["git", "-C", str(shallow), "fetch", "-q", "--unshallow"], check=True)
    assert seconds(clone) == [10, 20, 30]


def test_a_partial_clone_is_read_without_its_origin(repository, tmp_path):
    """A clone that lacks all files answers from what it has; nothing is fetched for it."""
    sha = repository.commit(NOON)
    repository.git("tag", "-a", "-m", "x", "v1", sha)
    repository.git("config", "uploadpack.allowFilter", "true")
    partial, origin = tmp_path / "partial.git", f"file://{repository.path}"
    subprocess.run(["git", "clone", "-q", "--mirror", "--filter=tree:0", origin, str(partial)], check=True)
    shutil.rmtree(repository.path)
    clone = Clone(str(partial))
    assert [commit.sha for commit in clone.commits(clone.dated(EPOCH, LATER))] == [sha]
    assert clone.commits_of([ref for ref in clone.visible_refs() if ref.is_tag]) == [sha]


def test_new_commits_are_seen_at_once(repository):
    """What was read before is not kept beyond the tips it belongs to."""
    clone = Clone(str(repository.path))
    for count in (1, 2, 3):
        repository.commit(NOON + count)
        assert len(clone.dated(EPOCH, LATER)) == count
    repository.git("update-ref", "refs/heads/main", "refs/heads/main~2")
    assert len(clone.dated(EPOCH, LATER)) == 1


def test_a_folder_that_is_missing_says_how_to_clone(tmp_path):
    """The error names the folder and the cure."""
    with pytest.raises(ConfigurationError, match=r"no folder .*nowhere.*git clone --mirror"):
        Clone(str(tmp_path / "nowhere")).count()


def test_a_folder_inside_another_repository_is_not_read_as_that_one(repository, tmp_path):
    """A clone that is missing inside somebody else's repository is an error, never their history."""
    repository.commit(NOON)
    outer = tmp_path / "outer"
    subprocess.run(["git", "clone", "-q", str(repository.path), str(outer)], check=True)
    (outer / "tenant").mkdir()
    with pytest.raises(ConfigurationError, match="not the top folder of a git repository"):
        Clone(str(outer / "tenant")).count()


def test_without_git_the_cure_is_to_install_it(repository, monkeypatch, tmp_path):
    """A machine without git gets a configuration error, not a traceback about a file."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="install git"):
        Clone(str(repository.path)).count()


def test_a_damaged_repository_is_tried_again(repository):
    """What is no matter of configuration is an ordinary failure with git's own reason."""
    repository.commit(NOON)
    (repository.path / "refs/heads/lost").write_text("1" * 40 + "\n")
    with pytest.raises(GitError, match=r"code \d+ .*bad object refs.heads.lost"):
        Clone(str(repository.path)).count()


def test_the_environment_cannot_redirect_git(repository, new_repository, monkeypatch):
    """GIT_DIR and its like in the host's environment do not lead to another repository."""
    repository.commit(NOON)
    other = new_repository("other.git")
    other.many([1, 2, 3])
    monkeypatch.setenv("GIT_DIR", str(other.path))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other.path / "objects"))
    assert Clone(str(repository.path)).count() == 1


def test_another_owner_is_no_obstacle(repository):
    """A clone that another user made and this one may read is read."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    repository.commit(NOON)
    for path in [repository.path, *repository.path.rglob("*")]:
        os.chown(path, 65534, 65534)
    assert Clone(str(repository.path)).count() == 1


def test_a_cancelled_reading_stops_git(repository):
    """An error raised between two blocks ends the reading and leaves no git behind."""

    def cancel() -> None:
        raise InterruptedError

    repository.commit(NOON)
    with pytest.raises(InterruptedError):
        Clone(str(repository.path)).dated(EPOCH, LATER, cancel)
    assert len(Clone(str(repository.path)).dated(EPOCH, LATER)) == 1


def test_a_flood_of_warnings_does_not_block(repository):
    """More warnings than a pipe holds do not stop git: broken refs are passed over."""
    repository.commit(NOON)
    for number in range(1500):
        (repository.path / f"refs/heads/broken-{number:04}").write_text("no object name at all\n")
    assert [ref.name for ref in Clone(str(repository.path), "main").visible_refs()] == ["refs/heads/main"]


def test_ten_years_of_windows_take_seconds(repository):
    """5,000 commits in 122 monthly windows are each read once, without one walk per window."""
    repository.many([NOON + 63_072 * number for number in range(5_000)])
    clone, start, found = Clone(str(repository.path)), at(NOON), 0
    for _ in range(122):
        chosen = clone.dated(start, start + timedelta(days=30))
        found += sum(1 for _ in clone.commits(chosen))
        start += timedelta(days=30)
    assert found == 5_000
