"""Commits whose reply was lost: the database says whether they happened, and nothing is doubled or missing (G2)."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine, select

import tenantcollect
from tenantcollect import CollectorOptions, Orchestrator, hookimpl
from tenantcollect.backends.sql import SqlBackend
from tenantcollect.errors import OutcomeUnknown
from tenantcollect.keys import EVERYTHING

METADATA = MetaData()
PIECE = Table("piece", METADATA, Column("id", Integer, primary_key=True), Column("name", Text))
DAY = timedelta(days=1)


class Pieces:
    """Collects a day in one piece; or in two, with a part of the window, or a resume point, made durable between."""

    def __init__(self, between: str | None) -> None:
        self.between = between

    @hookimpl
    def tables(self) -> MetaData:
        """Its own."""
        return METADATA

    @hookimpl
    def options(self) -> CollectorOptions:
        """One window."""
        return CollectorOptions(initial_range=DAY)

    @hookimpl
    def run(self, db: Any, context: Any) -> None:
        """Write what is left."""
        begun = context.resume or context.window.start > context.history_start
        if self.between and not begun:
            db.execute(PIECE.insert().values(name="first"))
            context.resume = "half"
            context.checkpoint(context.window.start + DAY / 2 if self.between == "part" else None)
        db.execute(PIECE.insert().values(name="last"))


class Lossy:
    """Loses the connection once: before the commit was sent, or when its reply was due."""

    def __init__(self, point: str) -> None:
        self.point, self.lost = point, 0

    def __call__(self, point: str) -> None:
        """Lose it there."""
        if point == self.point and not self.lost:
            self.lost += 1
            raise OutcomeUnknown


@contextmanager
def orchestrating(url: str, between: str | None, lossy: Lossy) -> Iterator[Orchestrator]:
    """An orchestrator with one tenant, whose windows lose a reply."""
    backend = SqlBackend(url, crash=lossy)
    collectors = {"acme.a": Pieces(between)}
    with tenantcollect.connect(url, collectors=collectors, state=backend.state, locks=backend.locks) as orchestrator:
        orchestrator.upgrade()
        orchestrator.configure("t1", "acme", {})
        yield orchestrator
    backend.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
@pytest.mark.parametrize("between", [None, "part", "resume point"])
def test_g2_the_database_is_asked_what_became_of_a_commit(
    request: pytest.FixtureRequest, kind: str, point: str, between: str | None
) -> None:
    """A window, a part of one, a resume point: what was stored is not collected again, what was not is."""
    url, lossy = request.getfixturevalue(f"migrated_{kind}"), Lossy(point)
    with orchestrating(url, between, lossy) as orchestrator:
        report = orchestrator.run()
        [state] = orchestrator.state.load(EVERYTHING)
    engine = create_engine(url)
    with engine.connect() as connection:
        names = list(connection.scalars(select(PIECE.c.name).order_by(PIECE.c.id)))
    engine.dispose()
    assert lossy.lost == 1
    assert names == (["first", "last"] if between else ["last"])
    assert (report.error, state.failures, state.resume) == (None, 0, None)
    assert state.coverage is not None
    assert [window.duration for window in state.coverage] == [DAY]
