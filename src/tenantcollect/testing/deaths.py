"""E01, E16, E27: processes that die or fork in the middle of a window (floor: testing; PROTOCOL 8)."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress

import pytest

from tenantcollect.state import Status
from tenantcollect.testing.crashes import EXIT_CODE, POINTS, DieAt
from tenantcollect.testing.harness import Harness
from tenantcollect.testing.processes import collect_elsewhere
from tenantcollect.testing.steps import attempts, collect, made, opened, read, seal_of, statuses
from tenantcollect.testing.suite import Suite, needs

__all__ = ["DeathTests"]

ROWS = [("acme", 1), ("acme", 2)]
LONGEST_CHILD = 20


def in_forked_child(*acts: Callable[[], object]) -> None:
    """Fork, do all of ``acts`` in the child whatever comes of them, and wait for its end."""
    child = os.fork()
    if not child:
        signal.alarm(LONGEST_CHILD)
        for act in acts:
            with suppress(BaseException):
                act()
        os._exit(0)
    os.waitpid(child, 0)


class DeathTests(Suite):
    """What another process does, or stops doing, leaves every row exactly once."""

    @needs("sql", "processes")
    @pytest.mark.parametrize("point", POINTS)
    def test_e01_killed(self, harness: Harness, point: str) -> None:
        """Wherever a process dies in a window, its rows are there exactly once after the next holder came."""
        made(harness.backend)
        assert collect_elsewhere(harness.factory, harness.write, 1, 2, crash=DieAt(point)) == EXIT_CODE
        committed = point == "after_commit"
        assert harness.rows() == (ROWS if committed else [])
        assert bool(read(harness.backend).coverage) is committed
        collect(harness, 1, 2)
        assert harness.rows() == ROWS
        assert statuses(harness.backend).count(Status.COMPLETED) == 1

    @needs("sql", "processes")
    def test_e01_a_process_that_lives(self, harness: Harness) -> None:
        """Without a crash the same process collects the window: the tests above die where they should."""
        made(harness.backend)
        assert collect_elsewhere(harness.factory, harness.write, 1, 2) == 0
        assert harness.rows() == ROWS

    @needs("sql", "processes")
    def test_e27_killed_window_leaves_its_abandoned_row(self, harness: Harness) -> None:
        """What a killed process was doing is in the history as soon as the key is opened again."""
        made(harness.backend)
        assert collect_elsewhere(harness.factory, harness.write, 1, crash=DieAt("after_run")) == EXIT_CODE
        assert attempts(harness.backend) == []
        collect(harness, 1, 2)
        assert statuses(harness.backend) == [Status.ABANDONED, Status.COMPLETED]
        assert attempts(harness.backend)[1].worker == "child"

    @needs("sql")
    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    def test_e16_fork_closes_the_connection(self, harness: Harness) -> None:
        """A child forked by a collector can neither write, commit, seal nor spoil its parent's window."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        db = transaction.session()
        harness.write(transaction, 1)
        in_forked_child(
            lambda: harness.write(transaction, 98),
            db.commit,
            lambda: harness.driver(transaction).commit(),
            db.rollback,
            transaction.abandon,
        )
        in_forked_child(
            lambda: harness.write(transaction, 99),
            lambda: transaction.seal(seal_of(transaction.claim)),
            harness.backend.close,
        )
        harness.write(transaction, 2)
        transaction.seal(seal_of(transaction.claim))
        assert harness.rows() == ROWS
        assert statuses(harness.backend) == [Status.COMPLETED]

    @needs("sql")
    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    def test_e16_a_child_that_ends_early_spoils_nothing(self, harness: Harness) -> None:
        """A child that only ends, as one of a subprocess pool does, leaves pooled connections usable."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        harness.write(transaction, 1)
        in_forked_child()
        harness.write(transaction, 2)
        transaction.seal(seal_of(transaction.claim))
        assert harness.rows() == ROWS
