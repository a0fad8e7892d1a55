"""Real repositories, made by ``git fast-import``, and a bench that runs one window of a script."""

import inspect
import logging
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Engine, Table, create_engine, event, select
from sqlalchemy.orm import Session

from tenantcollect import Window
from tenantcollect.sources.git.schema import METADATA
from tenantcollect.sources.git.settings import GitSettings

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Repository:
    """A bare repository that a test fills."""

    path: Path

    def git(self, *arguments: str, given: bytes = b"") -> str:
        """What git answers."""
        command = ["git", f"--git-dir={self.path}", "-c", "user.name=T", "-c", "user.email=t@x", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def commit(
        self,
        at: int,
        *,
        on: str = "main",
        message: bytes = b"a change",
        author: bytes = b"Ada <ada@x>",
        merge: Sequence[str] = (),
    ) -> str:
        """Add a commit of committer and author date ``at`` to the branch; return its sha."""
        tip = subprocess.run(
            ["git", f"--git-dir={self.path}", "rev-parse", "-q", "--verify", f"refs/heads/{on}"],
            capture_output=True,
            check=False,
        ).stdout.decode()
        parents = ([f"from {tip.strip()}"] if tip else []) + [f"merge {sha}" for sha in merge]
        lines = [
            f"commit refs/heads/{on}".encode(),
            b"author " + author + f" {at} +0200".encode(),
            f"committer C <c@x> {at} -0330".encode(),
            f"data {len(message)}".encode(),
            message,
            *(parent.encode() for parent in parents),
            b"",
        ]
        self.git("fast-import", "--quiet", "--force", given=b"\n".join(lines))
        return self.git("rev-parse", f"refs/heads/{on}")

    def many(self, seconds: Sequence[int], on: str = "main") -> None:
        """Add a line of commits, one for each committer date."""
        lines = [f"commit refs/heads/{on}\ncommitter A{at % 7} <a{at % 7}@x> {at} +0000\ndata 1\nx\n" for at in seconds]
        self.git("fast-import", "--quiet", "--force", given="".join(lines).encode())

    def raw_commit(self, committer: bytes, *, parent: str | None = None) -> str:
        """Write a commit that git itself would refuse; return its sha."""
        tree = self.git("mktree")
        lines = [f"tree {tree}".encode(), *([f"parent {parent}".encode()] if parent else [])]
        body = b"\n".join([*lines, b"author " + committer, b"committer " + committer, b"", b"raw\n"])
        return self.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", given=body)


@pytest.fixture
def new_repository(tmp_path: Path) -> Callable[[str], Repository]:
    """Makes empty bare repositories."""

    def make(name: str = "acme.git") -> Repository:
        path = tmp_path / name
        subprocess.run(["git", "init", "-q", "--bare", "--initial-branch=main", str(path)], check=True)
        return Repository(path)

    return make


@pytest.fixture
def repository(new_repository: Callable[[str], Repository]) -> Repository:
    """One empty bare repository."""
    return new_repository("acme.git")


@dataclass
class WindowContext:
    """A context on a real database, which keeps what it was told."""

    engine: Engine
    db: Session
    window: Window
    history_start: datetime
    attempt: int = 1
    cursor: Any = None
    resume: Any = None
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("bench"))
    sealed: list[datetime] = field(default_factory=list)
    reported: list[tuple[int, int | None]] = field(default_factory=list)
    cancelled: bool = False
    statements: int = 0

    def count(self, _: Any) -> None:
        """Count a statement sent through ``db``."""
        self.statements += 1

    def read(self, statement: Any) -> Sequence[Any]:
        with self.engine.connect() as connection:
            return connection.execute(statement).all()

    def checkpoint(self, until: datetime | None = None) -> None:
        assert until is not None
        assert self.window.start < until < self.window.end
        self.db.commit()
        self.window = Window(until, self.window.end)
        self.sealed.append(until)

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        self.reported.append((done, total))

    def warn(self, message: str) -> None:
        raise AssertionError(message)

    def raise_if_cancelled(self) -> None:
        if self.cancelled:
            raise KeyboardInterrupt


@dataclass
class Bench:
    """Runs windows of one script for tenants on one database."""

    engine: Engine
    last: WindowContext | None = None

    def run(
        self,
        script: ModuleType,
        settings: GitSettings,
        start: datetime = EPOCH,
        end: datetime = datetime(2100, 1, 1, tzinfo=UTC),
        *,
        tenant_id: str = "acme",
        told: datetime | None = None,
        history_start: datetime = EPOCH,
        cancelled: bool = False,
    ) -> int:
        """Run ``[start, end)``; ``told`` is the start a lookback makes of it."""
        with Session(self.engine) as db:
            self.last = WindowContext(self.engine, db, Window(start, end), history_start, cancelled=cancelled)
            offered = {
                "config": settings,
                "db": db,
                "tenant_id": tenant_id,
                "start_date": told or start,
                "end_date": end,
                "context": self.last,
            }
            event.listen(db, "do_orm_execute", self.last.count)
            wanted = inspect.signature(script.run).parameters
            records = script.run(**{name: offered[name] for name in wanted})
            db.commit()
        return int(records)

    def rows(self, table: Table, tenant_id: str = "acme") -> list[Any]:
        """The rows of the tenant, by primary key."""
        statement = select(table).where(table.c.tenant_id == tenant_id).order_by(*table.primary_key.columns)
        with self.engine.connect() as connection:
            return list(connection.execute(statement))


@pytest.fixture
def bench(database_url: str) -> Iterator[Bench]:
    """A bench on a fresh database of each kind, with the tables of the source."""
    engine = create_engine(database_url)
    METADATA.create_all(engine)
    yield Bench(engine)
    engine.dispose()
