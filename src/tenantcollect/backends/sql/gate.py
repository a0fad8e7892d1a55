"""SQLite's driver with a gate, so that another thread can end what one is doing (floor: backends).

The driver calls Python back (the authorizer) while it holds SQLite's mutex, and takes that mutex while it holds
Python's lock: two threads on one connection can wait for each other for ever. So one thread is inside at a time,
and whoever wants to end the other's work interrupts it and waits at the gate.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["GatedConnection"]

LONGEST = 5.0
SLICE = 0.05


class GatedConnection(sqlite3.Connection):
    """A connection that one thread uses at a time; :meth:`taken_over` is how another one gets it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.gate = threading.RLock()

    @property
    def idle(self) -> bool:
        """Whether no other thread is inside now."""
        free = self.gate.acquire(blocking=False)
        if free:
            self.gate.release()
        return free

    @contextmanager
    def taken_over(self) -> Iterator[None]:
        """Interrupt whoever is inside until the gate is free; raises TimeoutError after five seconds."""
        end = time.monotonic() + LONGEST
        self.interrupt()
        while not self.gate.acquire(timeout=SLICE):
            if time.monotonic() > end:
                raise TimeoutError("a statement of SQLite cannot be interrupted")
            self.interrupt()
        try:
            yield
        finally:
            self.gate.release()

    def cursor(self, *_: Any) -> "GatedCursor":  # type: ignore[override]
        """Every statement, however it is sent, goes through one of these."""
        with self.gate:
            return super().cursor(GatedCursor)

    def commit(self) -> None:
        """As the driver's."""
        with self.gate:
            super().commit()

    def rollback(self) -> None:
        """As the driver's."""
        with self.gate:
            super().rollback()

    def set_authorizer(self, authorizer: Any) -> None:
        """As the driver's."""
        with self.gate:
            super().set_authorizer(authorizer)

    def close(self) -> None:
        """As the driver's; a connection that cannot be interrupted is left to its thread."""
        if self.gate.acquire(timeout=LONGEST):
            try:
                super().close()
            finally:
                self.gate.release()


class GatedCursor(sqlite3.Cursor):
    """A cursor that enters by its connection's gate."""

    connection: GatedConnection

    def execute(self, *arguments: Any) -> "GatedCursor":
        """As the driver's."""
        with self.connection.gate:
            super().execute(*arguments)
        return self

    def executemany(self, *arguments: Any) -> "GatedCursor":
        """As the driver's."""
        with self.connection.gate:
            super().executemany(*arguments)
        return self

    def executescript(self, script: str) -> "GatedCursor":
        """As the driver's."""
        with self.connection.gate:
            super().executescript(script)
        return self

    def fetchone(self) -> Any:
        """As the driver's."""
        with self.connection.gate:
            return super().fetchone()

    def fetchmany(self, *arguments: Any, **options: Any) -> list[Any]:
        """As the driver's."""
        with self.connection.gate:
            return super().fetchmany(*arguments, **options)

    def fetchall(self) -> list[Any]:
        """As the driver's."""
        with self.connection.gate:
            return super().fetchall()

    def __next__(self) -> Any:
        with self.connection.gate:
            return super().__next__()

    def close(self) -> None:
        """As the driver's."""
        with self.connection.gate:
            super().close()
