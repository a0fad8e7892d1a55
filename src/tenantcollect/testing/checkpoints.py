"""E29: parts of a window that are made durable before its end (floor: testing; PROTOCOL 8)."""

import pytest
from attrs import evolve

from tenantcollect.errors import LeaseLost, OutcomeUnknown
from tenantcollect.state import Resume, Status
from tenantcollect.testing.crashes import LoseConnection
from tenantcollect.testing.harness import Harness
from tenantcollect.testing.steps import (
    DAY,
    attempts,
    collect,
    made,
    opened,
    read,
    seal_of,
    sealed,
    statuses,
    window,
)
from tenantcollect.testing.suite import Suite, needs
from tenantcollect.windows import NOTHING, WindowSet

__all__ = ["CheckpointTests"]

ONE, TWO, THREE = ("acme", 1), ("acme", 2), ("acme", 3)


class CheckpointTests(Suite):
    """A checkpoint is a seal of its own: fenced, once, all or nothing."""

    def test_e29_checkpoint_until_is_a_seal(self, harness: Harness) -> None:
        """A part that was sealed stays covered when the rest of its window is lost."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        whole = transaction.claim.window
        first, rest = whole.split(DAY / 4 * 3)
        transaction.seal(seal_of(transaction.claim, window=first, next_window=rest))
        transaction.abandon()
        state = read(harness.backend)
        assert (state.coverage, state.open_window) == (WindowSet((first,)), rest)
        opened(harness.backend)
        assert [row.window for row in attempts(harness.backend)] == [rest, first]
        assert statuses(harness.backend) == [Status.COMPLETED, Status.ABANDONED]

    def test_e29_checkpoint_keeps_the_resume_point(self, harness: Harness) -> None:
        """A checkpoint makes the resume point durable, covers nothing, and kills the claim before it."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        before = transaction.claim
        resume = Resume(window=window(0), value={"page": 7})
        after = transaction.checkpoint(resume)
        assert transaction.claim == after
        assert (after.window, after.window_id, after.fence) == (before.window, before.window_id, before.fence)
        state = read(harness.backend)
        assert (state.coverage, state.resume, state.open_window) == (NOTHING, resume, window(0))
        assert attempts(harness.backend) == []
        assert not sealed(harness.backend, before)
        assert transaction.seal(seal_of(after)) is None
        assert read(harness.backend).resume is None
        assert harness.backend.state.outcome(after)

    @needs("sql")
    def test_e29_rows_of_a_checkpoint_are_durable_once(self, harness: Harness) -> None:
        """Rows before a checkpoint stay when what follows is lost; ``db`` goes on to serve after it."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        harness.write(transaction, 1)
        transaction.checkpoint(Resume(window=window(0), value=1))
        assert harness.rows() == [ONE]
        harness.write(transaction, 2)
        transaction.abandon()
        assert harness.rows() == [ONE]
        assert read(harness.backend).resume == Resume(window=window(0), value=1)
        collect(harness, 2)
        assert harness.rows() == [ONE, TWO]
        assert read(harness.backend).resume is None

    @needs("sql")
    def test_e29_the_same_db_serves_every_window(self, harness: Harness) -> None:
        """The session that the collector was given goes on to serve it after checkpoints of both kinds."""
        from sqlalchemy import text

        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        db = transaction.session()
        first, rest = transaction.claim.window.split(DAY / 2)
        insert = "INSERT INTO collected (tenant_id, number) VALUES ('acme', :number)"
        db.execute(text(insert), {"number": 1})
        transaction.checkpoint(Resume(window=window(0), value=1))
        db.execute(text(insert), {"number": 2})
        transaction.seal(seal_of(transaction.claim, window=first, next_window=rest))
        db.execute(text(insert), {"number": 3})
        assert harness.rows() == [ONE, TWO]
        transaction.seal(seal_of(transaction.claim, first))
        assert harness.rows() == [ONE, TWO, THREE]

    def test_e29_a_checkpoint_whose_reply_was_lost(self, harness: Harness) -> None:
        """A checkpoint whose reply was lost is not made again by the claim before it."""
        made(harness.backend)
        backend = harness.beside(crash=LoseConnection("after_commit"))
        transaction = backend.state.transaction(opened(backend))
        resume = Resume(window=window(0), value=1)
        with pytest.raises(OutcomeUnknown):
            transaction.checkpoint(resume)
        transaction.abandon()
        again = harness.backend.state.transaction(transaction.claim)
        with pytest.raises(LeaseLost):
            again.checkpoint(evolve(resume, value=2))
        assert read(harness.backend).resume == resume

    def test_e29_a_checkpoint_after_a_takeover(self, harness: Harness) -> None:
        """An old holder's checkpoint is refused like its seal."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        opened(harness.backend)
        with pytest.raises(LeaseLost):
            transaction.checkpoint(Resume(window=window(0), value=1))
        transaction.abandon()
        assert read(harness.backend).resume is None
