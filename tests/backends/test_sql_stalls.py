"""Windows that hang, wait for each other, are evicted or come into conflict: what each of them is told."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tenantcollect.backends.sql import SqlBackend
from tenantcollect.backends.sql.schema import tables
from tenantcollect.errors import (
    DatabaseUnavailable,
    IsolationRefused,
    LeaseLost,
    Overloaded,
    TenantcollectError,
    TransactionConflict,
)
from tenantcollect.state import Resume, Revision
from tenantcollect.testing.sql import PostgresqlHarness, SqliteHarness
from tenantcollect.testing.steps import KEY, TTL, always, deferred, key, made, opened, seal_of
from tests.backends.windows import begun, engine_of, outside


def test_a_window_that_hangs_in_the_database_can_be_given_up(postgresql: PostgresqlHarness) -> None:
    """abandon() from another thread stops the statement, and its connection is never handed on."""
    transaction = begun(postgresql.backend)
    postgresql.write(transaction, 1)
    ended: list[BaseException] = []

    def hang() -> None:
        try:
            transaction.session().execute(text("SELECT pg_sleep(60)"))
        except Exception as error:  # noqa: BLE001 - whatever it is
            ended.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    transaction.abandon()
    thread.join(10)
    assert time.monotonic() - began < 8
    assert len(ended) == 1
    assert engine_of(postgresql).pool.checkedout() == 0  # type: ignore[attr-defined]
    busy = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'")
    with outside(postgresql).connect() as connection:
        assert connection.scalar(busy) == 0
    assert postgresql.rows() == []


def test_a_window_that_hangs_in_sqlite_can_be_given_up(migrated_sqlite: str) -> None:
    """abandon() from another thread ends the statement and lets the next writer go on."""
    harness = SqliteHarness(migrated_sqlite)
    made(harness.backend)
    transaction = begun(harness.backend)
    harness.write(transaction, 1)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    ended: list[BaseException] = []

    def hang() -> None:
        try:
            transaction.session().execute(text(endless))
        except Exception as error:  # noqa: BLE001 - whatever it is
            ended.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    time.sleep(0.5)
    transaction.abandon()
    thread.join(10)
    assert len(ended) == 1
    harness.backend.state.close(transaction.claim)
    assert harness.rows() == []
    harness.close()


def test_a_windows_own_thread_is_told_that_it_waits_for_itself(migrated_sqlite: str) -> None:
    """On SQLite, writing beside the open window from its own thread could never come to its turn."""
    harness = SqliteHarness(migrated_sqlite)
    made(harness.backend)
    transaction = begun(harness.backend)
    harness.write(transaction, 1)
    began = time.monotonic()
    with pytest.raises(Overloaded, match="this thread"):
        deferred(harness.backend.state, KEY, None)
    assert time.monotonic() - began < 1
    transaction.seal(seal_of(transaction.claim))
    harness.close()


def test_windows_queue_for_sqlites_only_writer(migrated_sqlite: str) -> None:
    """A second window waits for the first for as long as that takes, and not only for SQLite's timeout."""
    harness = SqliteHarness(migrated_sqlite)
    other = made(harness.backend, [key(script="branch")])
    first = harness.backend.state.transaction(opened(harness.backend, other))
    made(harness.backend)
    second = begun(harness.backend)
    harness.write(first, 1)
    thread = threading.Thread(target=lambda: (harness.write(second, 2), second.seal(seal_of(second.claim))))
    thread.start()
    time.sleep(6)
    assert thread.is_alive()
    first.seal(seal_of(first.claim))
    thread.join(10)
    assert harness.rows() == [("acme", 1), ("acme", 2)]
    harness.close()


def test_a_beat_that_cannot_write_is_not_a_lost_lease(migrated_sqlite: str) -> None:
    """While a window of another process writes, renewing says that it is unknown, not that the lease is gone."""
    harness = SqliteHarness(migrated_sqlite)
    made(harness.backend)
    [lease] = harness.backend.locks.acquire([KEY], owner="me", ttl=TTL)
    beside = harness.beside()
    transaction = beside.state.transaction(opened(beside))
    harness.write(transaction, 1)
    with pytest.raises(Overloaded):
        harness.backend.locks.renew([lease], ttl=TTL)
    transaction.abandon()
    assert harness.backend.locks.renew([lease], ttl=TTL) == {KEY}
    harness.close()


def test_a_former_holder_is_evicted_by_the_next(postgresql: PostgresqlHarness) -> None:
    """Opening with the token of the lease that was taken over ends the transaction that carries it."""
    former = begun(postgresql.backend)
    postgresql.mark(former, "mine")
    successor = postgresql.beside()
    claim = opened(successor, previous=former.claim.token)
    transaction = successor.state.transaction(claim)
    began = time.monotonic()
    postgresql.mark(transaction, "mine")
    assert time.monotonic() - began < 5
    transaction.seal(seal_of(claim))
    with pytest.raises((LeaseLost, DatabaseUnavailable)):
        former.seal(seal_of(former.claim))
    assert postgresql.rows() == [("acme", 0)]


@pytest.mark.parametrize("evict", [True, False])
def test_what_a_killed_process_left_at_work_is_ended_by_who_asks_after_it(
    postgresql: PostgresqlHarness, evict: bool
) -> None:
    """A server goes on with a statement that nobody waits for; what may still be sealed is the same without that."""
    killed = begun(postgresql.backend)
    postgresql.mark(killed, "mine")
    backend = SqlBackend(postgresql.url, evict=evict)
    assert backend.state.standing(killed.claim) == killed.claim
    backend.close()
    count = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :tag")

    def at_work() -> int:
        with outside(postgresql).connect() as connection:
            return connection.scalar(count, {"tag": f"tc:{killed.claim.token}"}) or 0

    deadline = time.monotonic() + 10
    while at_work() == evict:
        assert time.monotonic() < deadline
    killed.abandon()


def test_conflicts_losses_and_overload_are_told_apart(postgresql: PostgresqlHarness) -> None:
    """An error of the collector's SQL that is the database's fault is translated; the collector's own is not."""
    for state, kind in (
        ("40001", TransactionConflict),
        ("40P01", TransactionConflict),
        ("53300", Overloaded),
        ("57014", Overloaded),
        ("57P01", DatabaseUnavailable),
        ("23514", DBAPIError),
        ("22012", DBAPIError),
        ("42P01", DBAPIError),
        ("42501", IsolationRefused),
        ("P0001", DBAPIError),
    ):
        transaction = begun(postgresql.backend)
        raising = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}', DETAIL = 'a secret'; END $$"
        with pytest.raises(DBAPIError) as failed:
            transaction.session().execute(text(raising))
        meant = transaction.translate(failed.value)
        assert isinstance(meant, kind), state
        assert kind is DBAPIError or "a secret" not in str(meant)
        transaction.abandon()
    assert transaction.translate(ZeroDivisionError()).__class__ is ZeroDivisionError


def test_a_conflict_at_the_seal_of_a_key_that_moved_on_is_a_lost_lease(postgresql: PostgresqlHarness) -> None:
    """Whoever lost the key learns just that, also when the database speaks of a conflict."""
    serializable = SqlBackend(postgresql.url, isolation="REPEATABLE READ")
    transaction = serializable.state.transaction(opened(serializable))
    postgresql.write(transaction, 1)
    opened(postgresql.backend)
    with pytest.raises(LeaseLost):
        transaction.seal(seal_of(transaction.claim))
    assert postgresql.rows() == []
    serializable.close()


def test_a_conflict_of_a_checkpoint_stays_a_conflict(postgresql: PostgresqlHarness) -> None:
    """A conflict while the key is still ours is told as one, also where it passes through ``run`` again."""
    serializable = SqlBackend(postgresql.url, isolation="REPEATABLE READ")
    transaction = serializable.state.transaction(opened(serializable))
    postgresql.write(transaction, 1)
    postgresql.execute(text(f"UPDATE {tables().run.name} SET cursor = '1' WHERE tenant_id = 'acme'"))
    with pytest.raises(TransactionConflict) as conflict:
        transaction.checkpoint(Resume(window=transaction.claim.window, value=1))
    assert transaction.translate(conflict.value) is conflict.value
    assert postgresql.rows() == []
    serializable.close()


def test_a_command_waits_no_longer_for_a_holder_that_stalls(
    postgresql: PostgresqlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that stands still just before its COMMIT is evicted, as by who takes over: all other keys would wait too."""
    monkeypatch.setattr("tenantcollect.backends.sql.state.MOMENT", timedelta(seconds=0.2))
    at, go_on = threading.Event(), threading.Event()

    def stall(point: str) -> None:
        if point == "before_commit":
            at.set()
            go_on.wait(30)

    transaction = begun(postgresql.beside(crash=stall))
    postgresql.write(transaction, 1)
    with ThreadPoolExecutor(1) as pool:
        sealing = pool.submit(transaction.seal, seal_of(transaction.claim))
        assert at.wait(30)
        try:
            assert postgresql.backend.state.revise([KEY], always(Revision())) == {KEY}
        finally:
            go_on.set()
        with pytest.raises(TenantcollectError):
            sealing.result(30)
    transaction.abandon()
    assert postgresql.rows() == []
