"""Attempts that are tried again at once: each leaves its history row, and the last one the window (G8)."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, select, text

import tenantcollect
from tenantcollect import AuthenticationError, CollectorOptions, Orchestrator, WindowFailed, hookimpl
from tenantcollect.keys import EVERYTHING
from tenantcollect.state import HistoryRow, Status

METADATA = MetaData()
FACT = Table("fact_of_attempts", METADATA, Column("attempt", Integer, primary_key=True))


class Writing:
    """Writes the number of its attempt, and then does what it is given."""

    def __init__(self, then: Callable[[Any, int], object]) -> None:
        self.then = then

    @hookimpl
    def tables(self) -> MetaData:
        """Its own."""
        return METADATA

    @hookimpl
    def options(self) -> CollectorOptions:
        """One window."""
        return CollectorOptions(initial_range=timedelta(days=1))

    @hookimpl
    def run(self, db: Any, context: Any) -> None:
        """Write, then fail or not."""
        db.execute(FACT.insert().values(attempt=context.attempt))
        self.then(db, context.attempt)


@pytest.fixture
def make() -> Iterator[Callable[..., Orchestrator]]:
    """An orchestrator with one tenant on a migrated database."""
    made: list[Orchestrator] = []

    def orchestrator(url: str, then: Callable[[Any, int], object], **options: Any) -> Orchestrator:
        one = tenantcollect.connect(url, collectors={"acme.a": Writing(then)}, **options)
        made.append(one)
        one.upgrade()
        one.configure("t1", "acme", {})
        return one

    yield orchestrator
    for one in made:
        one.close()


def facts(url: str) -> list[int]:
    """What is in the collector's table."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = list(connection.scalars(select(FACT.c.attempt)))
    engine.dispose()
    return found


def conflicts(db: Any, attempt: int) -> None:
    """Twice another transaction was faster."""
    if attempt < 3:
        db.execute(text("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$"))


def terminated(db: Any, attempt: int) -> None:
    """Twice somebody ends the connection."""
    if attempt < 3:
        db.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


@pytest.mark.parametrize("then", [conflicts, terminated])
def test_g8_an_attempt_that_is_tried_again_has_its_row(
    make: Callable[..., Orchestrator], migrated_postgresql: str, then: Any
) -> None:
    """A conflict and a lost connection are tried again under the same fence; only the rows of the last one stay."""
    orchestrator = make(migrated_postgresql, then)
    failed: list[object] = []
    orchestrator.subscribe(lambda event: failed.append(event) if isinstance(event, WindowFailed) else None)
    assert orchestrator.run().windows.completed == 1
    rows = list(reversed(list(orchestrator.state.history(EVERYTHING, limit=10))))
    assert [(row.status, row.attempt, row.reason) for row in rows] == [
        (Status.FAILED, 1, "runnable"),
        (Status.FAILED, 2, "runnable"),
        (Status.COMPLETED, 3, None),
    ]
    assert [row.window_seq for row in rows] == [0, 1, 2]
    assert ({row.fence for row in rows}, len({row.window_id for row in rows})) == ({1}, 3)
    assert all(row.error for row in rows[:2])
    assert len(failed) == 2
    assert facts(migrated_postgresql) == [3]
    [state] = orchestrator.state.load(EVERYTHING)
    assert (state.status, state.failures, state.error) == (Status.COMPLETED, 0, None)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_g8_so_has_one_whose_credentials_were_refused(
    request: pytest.FixtureRequest, make: Callable[..., Orchestrator], kind: str
) -> None:
    """An env that was resolved anew is a further attempt; the refused one holds nothing back."""

    def refused(_: Any, attempt: int) -> None:
        if attempt == 1:
            raise AuthenticationError("401")

    url, tokens = request.getfixturevalue(f"migrated_{kind}"), iter(["old", "new"])
    orchestrator = make(url, refused, resolve_env=lambda *_: {"TOKEN": next(tokens)})
    assert orchestrator.run().windows.completed == 1
    rows: list[HistoryRow] = list(orchestrator.state.history(EVERYTHING, limit=10))
    assert [(row.status, row.attempt) for row in rows] == [(Status.COMPLETED, 2), (Status.FAILED, 1)]
    assert "401" in (rows[1].error or "")
    assert facts(url) == [2]
