"""E07, E08, E10–E15, E17, E24, E25: what a collector may do to ``db`` by mistake (floor: testing; PROTOCOL 8)."""

from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from tenantcollect.errors import TransactionBroken
from tenantcollect.state import WindowTransaction
from tenantcollect.testing.harness import Harness
from tenantcollect.testing.steps import collect, failure, made, opened, read, seal_of, statuses
from tenantcollect.testing.suite import Suite, needs
from tenantcollect.windows import NOTHING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["MisuseTests"]

Misuse = Callable[[WindowTransaction], object]
ENDINGS = ["COMMIT", "commit ;", "/* tidy up */ COMMIT", "END", "ROLLBACK", "COMMIT; BEGIN"]
INSERT = "INSERT INTO collected (tenant_id, number) VALUES ('acme', 2)"
ONE, TWO = ("acme", 1), ("acme", 2)


def swallowed(act: Callable[[], object]) -> BaseException | None:
    """The error of ``act``, which a collector ignores."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 - that is the mistake
        return error
    return None


def sql(statement: str) -> Misuse:
    """A collector that sends this statement."""
    from sqlalchemy import text

    return lambda transaction: transaction.session().execute(text(statement))


def breaks(harness: Harness, *misuses: Misuse) -> None:
    """Write, make these mistakes and swallow their errors, write on: the seal is refused, nothing is kept."""
    made(harness.backend)
    transaction = harness.backend.state.transaction(opened(harness.backend))
    harness.write(transaction, 1)
    for misuse in misuses:
        swallowed(lambda misuse=misuse: misuse(transaction))  # type: ignore[misc]
        assert harness.rows() == []
        swallowed(lambda: harness.write(transaction, 2))
    with pytest.raises(TransactionBroken):
        transaction.seal(seal_of(transaction.claim))
    transaction.abandon()
    assert harness.rows() == []
    assert read(harness.backend).coverage == NOTHING
    recovers(harness, transaction)


def recovers(harness: Harness, transaction: WindowTransaction) -> None:
    """The window can be failed by its holder and collected by the next one, on the same connections."""
    harness.backend.state.close(transaction.claim, failure())
    collect(harness, 1, 2)
    assert harness.rows() == [ONE, TWO]
    assert [status.value for status in statuses(harness.backend)] == ["FAILED", "COMPLETED"]


def write_late(db: "Session") -> None:
    """Write and commit through a session that somebody kept."""
    from sqlalchemy import text

    db.execute(text(INSERT))
    db.commit()


def in_thread(act: Callable[[], object]) -> list[BaseException | None]:
    """What ``act`` raised in a thread of its own."""
    errors: list[BaseException | None] = []
    thread = Thread(target=lambda: errors.append(swallowed(act)))
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    return errors


class MisuseTests(Suite):
    """Whoever ends the framework's transaction keeps nothing, and is told so."""

    @needs("sql")
    def test_e07_rollback_fails_the_window(self, harness: Harness) -> None:
        """``db.rollback()`` fails the window: what was written before it must not be lost in silence."""
        breaks(harness, lambda transaction: transaction.session().rollback())

    @needs("sql")
    def test_e08_close_fails_the_window(self, harness: Harness) -> None:
        """``db.close()`` fails the window."""
        breaks(harness, lambda transaction: transaction.session().close())

    @needs("sql")
    @pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK"])
    def test_e10_raw_commit(self, harness: Harness, ending: str) -> None:
        """A COMMIT or ROLLBACK sent as SQL is an error, and one that says what happened."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        harness.write(transaction, 1)
        error = swallowed(lambda: sql(ending)(transaction))
        assert error is not None
        assert isinstance(transaction.translate(error), TransactionBroken)
        transaction.abandon()
        assert harness.rows() == []
        recovers(harness, transaction)

    @needs("sql")
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_e11_raw_commit_swallowed(self, harness: Harness, ending: str) -> None:
        """However the statement is written, swallowing its error and writing on keeps nothing."""
        breaks(harness, sql(ending))

    @needs("sql")
    def test_e12_multi_statement(self, harness: Harness) -> None:
        """A COMMIT between two statements of one driver call keeps neither of them."""
        breaks(harness, lambda transaction: harness.script(transaction, [INSERT, "COMMIT", INSERT]))

    @needs("sql")
    def test_e13_driver_commit(self, harness: Harness) -> None:
        """A commit on the driver's own connection is refused."""
        breaks(harness, lambda transaction: harness.driver(transaction).commit())

    @needs("postgresql")
    @pytest.mark.parametrize("statement", ["SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS ALL IMMEDIATE; COMMIT"])
    def test_e14_set_constraints_immediate(self, harness: Harness, statement: str) -> None:
        """Having the constraints checked early does not get around the guard."""
        breaks(harness, lambda transaction: harness.script(transaction, [statement]))

    @needs("sql")
    def test_e15_swallowed_sql_error(self, harness: Harness) -> None:
        """An SQL error outside of a savepoint fails the window, also when the collector swallows it."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        harness.mark(transaction, "once")
        assert swallowed(lambda: harness.mark(transaction, "once")) is not None
        swallowed(lambda: harness.write(transaction, 2))
        with pytest.raises(TransactionBroken):
            transaction.seal(seal_of(transaction.claim))
        transaction.abandon()
        assert harness.rows() == []
        recovers(harness, transaction)

    @needs("sql")
    @pytest.mark.parametrize("ending", ["abandoned", "sealed"])
    def test_e17_a_late_thread_cannot_write(self, harness: Harness, ending: str) -> None:
        """A thread that outlives its window cannot write through its ``db``, not even into the next window."""
        made(harness.backend)
        late = harness.backend.state.transaction(opened(harness.backend))
        db = late.session()
        harness.write(late, 1)
        if ending == "sealed":
            late.seal(seal_of(late.claim))
        late.abandon()
        errors = in_thread(lambda: write_late(db))
        assert errors != [None]
        assert harness.rows() == ([ONE] if ending == "sealed" else [])
        following = harness.backend.state.transaction(opened(harness.backend, day=1))
        harness.write(following, 7)
        in_thread(lambda: write_late(db))
        before = [late.claim.window] if ending == "sealed" else []
        following.seal(seal_of(following.claim, *before))
        assert harness.rows() == [*([ONE] if ending == "sealed" else []), ("acme", 7)]

    @needs("sql")
    def test_e24_commit_swallowed_twice(self, harness: Harness) -> None:
        """A second COMMIT finds the same refusal as the first one."""
        breaks(harness, sql("COMMIT"), sql("COMMIT"))

    @needs("sql")
    def test_e24_commit_by_different_doors(self, harness: Harness) -> None:
        """SQL, the driver and the session, one after the other, make nothing durable."""
        breaks(
            harness,
            sql("COMMIT"),
            lambda transaction: harness.driver(transaction).commit(),
            lambda transaction: transaction.session().commit(),
        )

    @needs("sql")
    def test_e25_driver_rollback_write_commit(self, harness: Harness) -> None:
        """After a rollback of the driver's connection what is written and committed on it is not kept."""
        breaks(
            harness,
            lambda transaction: harness.driver(transaction).rollback(),
            lambda transaction: harness.driver(transaction).execute(INSERT),
            lambda transaction: harness.driver(transaction).commit(),
        )
