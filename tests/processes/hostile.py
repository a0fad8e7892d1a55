"""A host's app whose one collector does to its process what its tenant's env says.

``HOSTILE_DATABASE`` is the database; children import this module as the tests do.
"""

import ctypes
import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tenantcollect import CollectorOptions, Context, Orchestrator, connect, hookimpl
from tenantcollect.contrib.processes import Processes

FOREVER = 1000
DAYS = 2
MEMORY = 300 * 2**20

metadata = sa.MetaData()
fact = sa.Table(
    "hostile_fact",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant_id", sa.Text),
    sa.Column("start", sa.Text),
)


class LastStraw(BaseException):
    """No ``except Exception`` stops it."""


def hang_in_c() -> None:
    """Keep the interpreter itself from running anything else in this process."""
    ctypes.PyDLL(None).sleep(FOREVER)


def ignore_sigterm() -> None:
    """Wait, and not even die when asked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    time.sleep(FOREVER)


def eat_memory() -> None:
    """More than a child may have."""
    eaten = bytearray(2 * MEMORY)
    assert eaten


def eat_slowly() -> None:
    """More than a child may have, in small pieces, so that nothing is left of it."""
    eaten = []
    while True:
        eaten.append(bytearray(2**20))


def leave_a_thread() -> None:
    """A thread that outlives its window."""
    threading.Thread(target=time.sleep, args=(FOREVER,), daemon=True).start()


def fork() -> None:
    """Come back from ``run`` twice."""
    os.fork()


def leave_a_process() -> None:
    """A process that outlives its window."""
    if os.fork() == 0:
        time.sleep(FOREVER)


def print_much() -> None:
    """Fifty megabytes, on both streams."""
    for _ in range(25):
        sys.stdout.write("x" * 2**20)
        os.write(2, b"y" * 2**20)


def raise_base() -> None:
    """Raise what nobody should."""
    raise LastStraw("enough")


class NoText(Exception):
    def __str__(self) -> str:
        return b"no text"  # type: ignore[return-value]  # noqa: PLE0307


def raise_without_text() -> None:
    """Raise what cannot be written down."""
    raise NoText


def leave_no_recursion() -> None:
    """Leave so little that nothing but the collector's own code runs."""
    sys.setrecursionlimit(len(inspect.stack()) + 12)


HANGS = ("hang_in_c", "ignore_sigterm")
DEEDS = {
    "hang_in_c": hang_in_c,
    "ignore_sigterm": ignore_sigterm,
    "exit": lambda: os._exit(7),
    "segfault": lambda: ctypes.string_at(0),
    "sys_exit": lambda: sys.exit(0),
    "exit_quietly": lambda: os._exit(0),
    "be_signalled": lambda: os.kill(os.getpid(), signal.SIGRTMIN + 6),
    "eat_memory": eat_memory,
    "eat_slowly": eat_slowly,
    "leave_a_thread": leave_a_thread,
    "leave_a_process": leave_a_process,
    "fork": fork,
    "close_all_files": lambda: os.closerange(3, 256),
    "print_much": print_much,
    "signal_its_group": lambda: os.killpg(0, signal.SIGTERM),
    "raise_base": raise_base,
    "raise_without_text": raise_without_text,
    "leave_no_recursion": leave_no_recursion,
    "behave": lambda: None,
}


class Source:
    @hookimpl
    def tables(self) -> sa.MetaData:
        return metadata


class Item:
    @hookimpl
    def options(self) -> CollectorOptions:
        return CollectorOptions(initial_range=timedelta(days=DAYS), window_timeout=timedelta(seconds=2))

    @hookimpl
    def run(self, env: Mapping[str, str], db: Session, tenant_id: str, start_date: datetime, context: Context) -> int:
        context.logger.warning("at work")
        row = fact.insert().values(tenant_id=tenant_id, start=start_date.isoformat())
        # SQLite has one writer: a window that hangs while it writes holds up every other (docs/how-to).
        last = os.environ["HOSTILE_DATABASE"].startswith("sqlite") and env["DEED"] in HANGS
        if not last:
            db.execute(row)
        DEEDS[env["DEED"]]()
        db.execute(row) if last else None
        return 1


def build(executor: Processes | None = None) -> Orchestrator:
    """The same orchestrator in the parent, which has an executor, and in its children, which need none."""
    return connect(
        os.environ["HOSTILE_DATABASE"],
        collectors={"hostile": Source(), "hostile.item": Item()},
        executor=executor,
        app="tests.processes.hostile:build" if executor else None,
        retry_delay=timedelta(hours=1),
        concurrency=3,
    )
