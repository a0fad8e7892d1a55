"""The committer dates of a history, sorted, so that each window is a slice of it.

Reading them costs a walk through all commits, which for a history of many windows would be most of the work.
What a set of tips reaches never changes, so the last few histories are kept.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

KEPT = 8


class History:
    """Commits by committer date (seconds since 1970); 28 bytes for each."""

    __slots__ = ("_seconds", "_shas", "_width")

    def __init__(self, pairs: Iterable[tuple[int, str]]) -> None:
        ordered = sorted(pairs)
        self._seconds = array("q", (second for second, _ in ordered))
        self._shas = b"".join(bytes.fromhex(sha) for _, sha in ordered)
        self._width = len(self._shas) // max(len(ordered), 1)

    def between(self, first: int, after: int) -> list[tuple[int, str]]:
        """The second and the sha of each commit in ``[first, after)``, oldest first."""
        span = range(bisect_left(self._seconds, first), bisect_left(self._seconds, after))
        return [(self._seconds[at], self._sha(at)) for at in span]

    def _sha(self, at: int) -> str:
        return self._shas[at * self._width : (at + 1) * self._width].hex()


class Place:
    """Holds a history once it was read; two threads may both read it, to the same end."""

    __slots__ = ("history",)

    def __init__(self) -> None:
        self.history: History | None = None


def place_of(git_dir: Path, tips: Iterable[str]) -> Place:
    """The place for what ``tips`` reach in the repository, as deep as it is cloned now."""
    return _place(git_dir, _depth(git_dir), sha256("\n".join(tips).encode()).digest())


@lru_cache(maxsize=KEPT)
def _place(*_reached: object) -> Place:
    return Place()


def _depth(git_dir: Path) -> tuple[int, int] | None:
    """What changes when a shallow clone is deepened, which moves no tip."""
    try:
        stat = (git_dir / "shallow").stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
