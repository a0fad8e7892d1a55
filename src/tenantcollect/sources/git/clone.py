"""Reads a local clone through git: refs, commit dates, commits. Exact, streaming, nothing is written.

The committer date decides to which window a commit belongs. git's own ``--since`` stops at the first older
commit, so it loses commits of unordered histories; here every visible commit is asked for its date.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import NamedTuple

from tenantcollect import ConfigurationError

from .history import History, place_of
from .process import git_dir, ignore, records

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_SECOND = (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - EPOCH) // timedelta(seconds=1)
LONGEST_TEXT = 500

REF_FORMAT = "%(refname)%00%(objectname)%00%(symref)%00%(HEAD)%00%(objecttype)%00%(creatordate:unix)"
COMMIT_FORMAT = "%H%x00%P%x00%an%x00%ae%x00%at%x00%s"


class Dated(NamedTuple):
    """A commit and its committer date: all that is needed to choose and to order."""

    committed_at: datetime
    sha: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit; texts are valid UTF-8 without NUL and cut at 500 characters, dates are UTC."""

    sha: str
    parents: int
    author_name: str
    author_email: str
    authored_at: datetime
    committed_at: datetime
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """A branch, a tag or another ref; ``created_at`` is the date of its tip or of the annotated tag."""

    name: str
    sha: str
    alias: bool
    current: bool
    annotated: bool
    created_at: datetime | None

    @property
    def is_branch(self) -> bool:
        """True for local and remote-tracking branches, not for an alias such as ``origin/HEAD``."""
        return self.name.startswith(("refs/heads/", "refs/remotes/")) and not self.alias

    @property
    def is_tag(self) -> bool:
        """True for annotated and light tags."""
        return self.name.startswith("refs/tags/")

    def is_named(self, pattern: str) -> bool:
        """True if ``pattern`` is or matches the full name, ``heads/main`` or ``main``; ``*`` spans ``/``."""
        parts = self.name.split("/", 2)
        return any(fnmatchcase("/".join(parts[skip:]), pattern) for skip in range(len(parts)))


@dataclass(frozen=True, slots=True)
class Clone:
    """The clone at ``path``, seen through ``refs``: names and globs separated by spaces, empty = all.

    "All" means what ``git rev-list --all`` means, a detached HEAD included.
    Every method raises :class:`ConfigurationError` if the clone cannot be used until someone acts.
    """

    path: str
    refs: str = ""

    def visible_refs(self) -> list[Ref]:
        """The refs that may be seen, by name.

        A name (not a glob) that stands for nothing raises :class:`ConfigurationError`, except in a repository
        without any ref: a misspelt branch must not look like an empty one.
        """
        found = [_ref(line) for line in records(self.path, "for-each-ref", f"--format={REF_FORMAT}")]
        patterns = self.refs.split()
        if found:
            _refuse_unknown(patterns, found)
        return [ref for ref in found if not patterns or any(map(ref.is_named, patterns))]

    def commits_of(self, tags: Sequence[Ref]) -> list[str | None]:
        """The commit each tag stands for, in order, through tags of tags; None for a tagged file or tree."""
        asked = [f"{tag.sha}^{{}}" for tag in tags]
        answers = records(self.path, "cat-file", "--batch-check=%(objecttype) %(objectname)", given=asked)
        peeled = [_text(answer).partition(" ") for answer in answers]
        return [sha if kind == "commit" else None for kind, _, sha in peeled]

    def count(self) -> int:
        """How many commits may be seen."""
        return sum(map(int, records(self.path, "rev-list", "--count", "--stdin", given=self.tips())))

    def tips(self) -> list[str]:
        """The objects from which everything that may be seen is reached."""
        if self.refs.split():
            return [ref.sha for ref in self.visible_refs()]
        return [sha.decode("ascii") for sha in records(self.path, "rev-list", "--no-walk=unsorted", "--all")]

    def seconds(self, tips: Iterable[str], between: Callable[[], None] = ignore) -> Iterator[tuple[int, str]]:
        """Yield the committer date (seconds since 1970) and the sha of every commit of ``tips``, in no order.

        A date that no calendar holds (negative, garbage, after the year 9999) is 0, so that its commit is
        collected, once, by whoever collects from the beginning.
        """
        for line in records(self.path, "rev-list", "--timestamp", "--stdin", given=tips, between=between):
            second, _, sha = line.partition(b" ")
            yield _second(second), sha.decode("ascii")

    def dated(self, start: datetime, end: datetime, between: Callable[[], None] = ignore) -> list[Dated]:
        """The visible commits with a committer date in ``[start, end)``, oldest first."""
        found = self._history(between).between(_ceiling(start), _ceiling(end))
        return [Dated(EPOCH + timedelta(seconds=second), sha) for second, sha in found]

    def commits(self, chosen: Sequence[Dated], between: Callable[[], None] = ignore) -> Iterator[Commit]:
        """Yield the commits of ``chosen``, in its order."""
        if not chosen:
            return  # git would show HEAD
        fields = records(
            self.path,
            *("log", "--no-walk=unsorted", "--stdin", "-z", f"--format=tformat:{COMMIT_FORMAT}"),
            *("--encoding=UTF-8", "--no-show-signature", "--no-color", "--no-notes"),
            separator=b"\0",
            given=(sha for _, sha in chosen),
            between=between,
        )
        for dated, commit in zip(chosen, zip(*[fields] * 6, strict=True), strict=True):
            yield _commit(dated, commit)

    def _history(self, between: Callable[[], None]) -> History:
        tips = self.tips()
        place = place_of(git_dir(self.path), tips)
        if place.history is None:
            place.history = History(self.seconds(tips, between))
        return place.history


def first_commit_at(path: str, refs: str = "") -> datetime | None:
    """The oldest committer date (UTC) among the commits seen through ``refs``; None if there is no commit."""
    clone = Clone(path, refs)
    oldest = min((second for second, _ in clone.seconds(clone.tips())), default=None)
    return None if oldest is None else EPOCH + timedelta(seconds=oldest)


def commit_count(path: str, refs: str = "") -> int:
    """How many commits are seen through ``refs``: ``git rev-list --count`` of them."""
    return Clone(path, refs).count()


def _refuse_unknown(patterns: Sequence[str], found: Sequence[Ref]) -> None:
    for pattern in patterns:
        if not re.search(r"[*?\[]", pattern) and not any(ref.is_named(pattern) for ref in found):
            problem = f"there is no branch or tag {pattern!r}; 'git for-each-ref' lists the names"
            raise ConfigurationError(f"GIT_REFS: {problem}", fields={"GIT_REFS": problem})


def _ref(line: bytes) -> Ref:
    name, sha, symref, head, kind, created = line.split(b"\0")
    return Ref(
        name=_text(name),
        sha=sha.decode("ascii"),
        alias=bool(symref),
        current=head == b"*",
        annotated=kind == b"tag",
        created_at=_instant(created) if created else None,
    )


def _commit(dated: Dated, fields: tuple[bytes, ...]) -> Commit:
    _, parents, name, email, authored, subject = fields
    return Commit(
        sha=dated.sha,
        parents=len(parents.split()),
        author_name=_text(name),
        author_email=_text(email),
        authored_at=_instant(authored),
        committed_at=dated.committed_at,
        subject=_text(subject),
    )


def _text(raw: bytes) -> str:
    """Text that every database takes; the bytes of a repository may be anything."""
    return raw[: 4 * LONGEST_TEXT].decode("utf-8", "replace")[:LONGEST_TEXT]


def _instant(raw: bytes) -> datetime:
    return EPOCH + timedelta(seconds=_second(raw))


def _second(raw: bytes) -> int:
    try:
        second = int(raw)
    except ValueError:
        return 0
    return second if 0 <= second <= LAST_SECOND else 0


def _ceiling(moment: datetime) -> int:
    """The first whole second at or after ``moment``: commits have whole seconds, windows microseconds."""
    return -((EPOCH - moment) // timedelta(seconds=1))
