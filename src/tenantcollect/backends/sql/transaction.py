"""The one transaction of a window: begun at the first use of ``db``, ended by its seal (floor: backends)."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from attrs import evolve
from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from tenantcollect.backends.sql.changes import Change, checkpointed, held, sealed
from tenantcollect.backends.sql.dialect import PATIENCE, WINDOW, Terms
from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.errors import connection_lost, described, meaning, translating
from tenantcollect.backends.sql.session import WindowSession, read_alone
from tenantcollect.backends.sql.verdict import Verdict
from tenantcollect.backends.sql.watching import Watch, watch
from tenantcollect.errors import (
    DatabaseReadOnly,
    DatabaseUnavailable,
    IsolationRefused,
    LeaseLost,
    OutcomeUnknown,
    TransactionBroken,
    TransactionConflict,
)
from tenantcollect.state import Claim, Resume, Seal

__all__ = ["SqlTransaction"]

REFUSED_READINGS = {
    TransactionBroken: "context.read() only reads; write through db.",
    IsolationRefused: "context.read() was refused: it asked for what is not granted to the collector's role.",
}
CLOSED = "close() or invalidate() of its connection"


class SqlTransaction:
    """A :class:`~tenantcollect.state.WindowTransaction` on SQLite or PostgreSQL."""

    def __init__(self, claim: Claim, database: Database, terms: Terms) -> None:
        self.claim = claim
        self._database = database
        self._terms = terms
        self._session: WindowSession | None = None
        self._connection: Connection | None = None
        self._threads: set[int] = set()
        self._process = os.getpid()
        self._verdict = Verdict()
        self._watch: Watch
        self._untouched = True
        self._over = False
        self._ours = False
        self._lock = threading.RLock()

    def session(self) -> Session:
        with self._lock:
            if self._session is None:
                self._session = WindowSession(self)
            return self._session

    def read(self, statement: Any) -> Sequence[Any]:
        self._require_open()
        with self._verdict.telling():
            try:
                return read_alone(self._database, self, self.claim.key.tenant_id, self._terms.role, statement)
            except SQLAlchemyError as error:
                if (refused := meaning(error)) in REFUSED_READINGS:
                    raise refused(f"{REFUSED_READINGS[refused]} ({described(error)})") from None
                self._raise(error)

    def connection(self) -> Connection:
        """The connection of the window, begun now if it is not yet; raises :class:`TransactionBroken`."""
        self._require_open()
        if self._connection is None:
            with self._lock:
                self._require_open()
                if self._connection is None:
                    with self._verdict.telling():
                        self._begin()
        return self._whole(self._connection)

    def _whole(self, connection: Connection | None) -> Connection:
        """``connection``, unless the collector has closed or ended it: raises :class:`TransactionBroken`."""
        if connection is None or connection.closed or connection.invalidated or self._watch.closed_by_hand:
            self.refuse(CLOSED)
        if not connection.in_transaction():
            self.refuse("rollback() of its connection")
        return connection

    def refuse(self, deed: str, error: type[TransactionBroken] = TransactionBroken) -> NoReturn:
        """Fail the window for what the collector did; raises :class:`TransactionBroken`, or ``error``."""
        self.was_broken(f"the collector called {deed}", error)
        raise self._verdict.error()

    @property
    def writing(self) -> bool:
        """Whether its transaction is open: from the first use of ``db`` until its rows are durable, or gone."""
        return self._connection is not None

    @property
    def over(self) -> bool:
        """Whether the window has ended."""
        return self._over

    def was_broken(self, why: str, error: type[TransactionBroken] = TransactionBroken) -> None:
        """Remember that this window cannot be sealed any more, even if the collector swallows the error."""
        self._verdict.broken = self._verdict.broken or error(f"{error()} ({why})")

    def statement_failed(self, connection: Connection) -> None:
        """SQLite only: a failed statement fails the window, unless a savepoint is there to undo it."""
        if not self._ours and connection is self._connection:
            driver = connection.connection.driver_connection
            if not connection.in_nested_transaction() or not getattr(driver, "in_transaction", False):
                self._verdict.failed = True
                self._database.dialect.break_window(connection)

    def was_used(self) -> None:
        """Remember the thread: while it may still hold the connection, nobody else gets it."""
        self._threads.add(threading.get_ident())

    def was_rolled_back(self, connection: Connection) -> None:
        """The collector, or SQLAlchemy after a failed flush, rolled all of the window back."""
        self._verdict.failed |= self._database.dialect.aborted(connection)
        if not self._verdict.failed:
            self.was_broken("its transaction was rolled back")
        self._database.dialect.break_window(connection)

    def was_hit(self, error: BaseException) -> None:
        """Remember that a statement of this window met ``error``."""
        self._verdict.met(error)

    def translate(self, error: BaseException) -> BaseException:
        connection = self._connection
        if connection is not None and self._watch.closed_by_hand:
            self.was_broken(f"the collector called {CLOSED}")
        elif connection is not None and (connection.invalidated or self._database.dialect.aborted(connection)):
            self.was_hit(error)
        return self._verdict.of(error)

    def vouches(self, error: BaseException) -> bool:
        return self._verdict.told(error)

    def _raise(self, error: Exception) -> NoReturn:
        """Raise what ``error`` of a statement of this window means."""
        self.was_hit(error)
        meant = self._verdict.of(error)
        if meant is error:
            raise error
        raise meant from None

    def _require_open(self) -> None:
        if self._process != os.getpid():
            raise TransactionBroken("This window belongs to the process that this one was forked from.")
        if self._over:
            raise TransactionBroken("This window is over; nothing can be written through its db any more.")
        if self._verdict.lost:
            raise self._verdict.error()

    def _begin(self) -> None:
        """Wait for the turn, connect, begin, put the guard in."""
        self._database.turns.take(self._waits)
        try:
            connection = self._connected()
        except BaseException:
            self._database.turns.end()
            raise
        self._connection, self._threads = connection, {threading.get_ident()}
        if self._over:
            self._drop()
            self._require_open()

    def _waits(self) -> bool:
        return not self._over

    def _options(self) -> dict[str, Any]:
        options = self._database.dialect.window_options(self._terms.isolation)
        return {**options, WINDOW: self, PATIENCE: self._waits}

    def _connected(self) -> Connection:
        dialect = self._database.dialect
        tables = self._database.tables
        with translating():
            connection = self._database.connect(self._options())
            try:
                dialect.begin_window(connection, tables, self.claim, self._terms)
            except BaseException:
                connection.invalidate()
                connection.close()
                raise
        self._watch = watch(connection, self, lambda: self._ours)
        self._untouched = True
        return connection

    def seal(self, seal: Seal) -> Claim | None:
        opened_at = self._commit(sealed(self.claim, seal))
        if seal.next is None:
            self._over = True
            return None
        self.claim = evolve(seal.next, started_at=opened_at)
        return self.claim

    def checkpoint(self, resume: Resume) -> Claim:
        self._commit(checkpointed(self.claim, resume))
        self.claim = evolve(self.claim, window_seq=self.claim.window_seq + 1)
        return self.claim

    def _commit(self, change: Change) -> Any:
        """Rows and ``change`` become durable together, or neither; when the next window was opened, if one was."""
        with self._lock:
            try:
                self._terms.crash("after_run")
                self._flush()
                alone = self._connection is None
                opened_at = self._commit_alone(change) if alone else self._commit_guarded(change)
                self._terms.crash("after_commit")
            except BaseException:
                self._over = True
                self._drop()
                raise
            return opened_at

    def _flush(self) -> None:
        """Send what the session still holds; an error there is the collector's own."""
        self._require_open()
        if self._session is None:
            return
        try:
            self._session.commit()
        except SQLAlchemyError as error:
            self._raise(error)

    def _commit_alone(self, change: Change) -> Any:
        """P6b: nothing was written, so one statement that commits itself is the seal."""
        for point in ("after_fence", "after_history", "before_commit"):
            self._terms.crash(point)
        database = self._database
        try:
            with database.single(patient=True) as connection:
                done = change.apply(connection, database.dialect, database.tables, guarded=False)
        except DatabaseUnavailable as error:
            raise OutcomeUnknown(f"{OutcomeUnknown()} ({error})") from None
        if done is None:
            raise LeaseLost
        return done.opened_at

    def _commit_guarded(self, change: Change) -> Any:
        """P6: the guard proves that this is the transaction the window began in."""
        connection = self._whole(self._connection)
        with self._deciding():
            self._ours = True
            self._untouched &= self._watch.restored()
            self._untouched &= self._database.dialect.end_window(connection)
            done = change.apply(connection, self._database.dialect, self._database.tables, guarded=True)
        self._terms.crash("after_fence")
        self._terms.crash("after_history")
        if done is None:
            self._drop()
            raise self._why_not()
        self._terms.crash("before_commit")
        self._send_commit(connection)
        self._release()
        return done.opened_at

    def _send_commit(self, connection: Connection) -> None:
        """The one COMMIT of the window: once it is sent, only the database knows what became of it."""
        try:
            connection.commit()
        except SQLAlchemyError as error:
            if connection_lost(error):
                raise OutcomeUnknown(f"{OutcomeUnknown()} ({described(error)})") from None
            meant = self.translate(error)
            raise (self._why_not(meant) if isinstance(meant, TransactionConflict) else meant) from None

    @contextmanager
    def _deciding(self) -> Iterator[None]:
        """A conflict may mean that the key has moved on: that is no failure of this window."""
        try:
            with translating():
                yield
        except TransactionConflict as conflict:
            self._drop()
            raise self._why_not(conflict) from None
        except DatabaseReadOnly:
            # After ours the driver began a transaction that only reads (PROTOCOL 2.4).
            self.was_broken("its transaction was ended")
            raise self._verdict.error() from None

    def _why_not(self, otherwise: BaseException | None = None) -> BaseException:
        """Why the seal found no row to change, by one read in a new transaction: the key moved on, or the
        collector ended the transaction.
        """
        run = self._database.tables.run
        here = select(run.c.fence).where(held(run, self.claim))
        with self._database.reading() as connection:
            still_ours = connection.scalar(here) is not None
        if not still_ours:
            return LeaseLost()
        if otherwise is None:
            self.was_broken("its transaction was ended")
        return otherwise or self._verdict.error()

    def abandon(self) -> None:
        if self._process != os.getpid():
            return
        self._over = True
        # Whoever has the lock for long is beginning or committing, and drops the connection when done.
        if self._lock.acquire(timeout=1):
            try:
                self._drop()
            finally:
                self._lock.release()

    def _release(self) -> None:
        """After a commit: back to the pool, if no other thread of the collector may still hold it."""
        connection, self._connection, self._ours = self._connection, None, False
        if connection is None:
            return
        # The window is durable: what goes wrong from here on is no concern of its.
        with suppress(Exception):
            alone = self._threads == {threading.get_ident()}
            if not (self._watch.end() and self._untouched and alone):
                connection.invalidate()
            connection.close()
        self._database.turns.end()

    def _drop(self) -> None:
        """Roll back and let go; a connection that another thread may be using is cut, and never used again."""
        if self._session is not None and self._over:
            with suppress(Exception):
                self._session.finish()
        connection, self._connection, self._ours = self._connection, None, True
        if connection is None:
            return
        try:
            alone = self._threads == {threading.get_ident()}
            self._database.throw_away(connection, alone=self._watch.end() and alone)
        finally:
            self._database.turns.end()
