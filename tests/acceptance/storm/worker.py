"""One orchestrator process of a storm: pass after pass, and commands, whatever happens to its database."""

import faulthandler
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from attrs import frozen

from tenantcollect.backends.sql import SqlBackend
from tenantcollect.errors import StorageError
from tenantcollect.orchestrator import Orchestrator
from tests.acceptance.storm.collectors import EPOCH, LABEL, MICROSECOND, SCRIPTS, SILENT, collectors, micros
from tests.acceptance.storm.mutants import MUTANTS

__all__ = ["LEFT_BEHIND", "Orders", "orchestrator", "work"]

LEFT_BEHIND = 3
"""The exit code of a worker whose threads did not end with it."""
COMMANDING = 0.3
MOST_BACK = 2
logger = logging.getLogger("storm.worker")


@frozen(kw_only=True)
class Orders:
    """What a worker is told."""

    url: str
    seed: str
    log: Path
    quiet: Path
    settled: Path
    calls: Path
    backfills: Path
    starts: Mapping[str, int]
    """Where the history of each tenant begins (microseconds since 1970)."""
    evict: bool = True
    mutant: str | None = None
    ttl: float = 2.0
    window: float = 12.0
    slowness: float = 1.0


def orchestrator(orders: Orders) -> Orchestrator:
    """As ``tenantcollect.connect`` does, but that eviction can be switched off."""
    backend = SqlBackend(orders.url, evict=orders.evict)
    return Orchestrator(
        state=backend.state,
        locks=backend.locks,
        catalog=backend.catalog,
        collectors=collectors(timedelta(seconds=orders.window), orders.slowness, orders.quiet, orders.calls),
        lease_ttl=timedelta(seconds=orders.ttl),
        retry_delay=timedelta(seconds=0.2),
        schema=backend.schema,
        on_close=backend.close,
    )


def work(orders: Orders) -> None:
    """Run passes until SIGTERM; the exit code says whether everything ended with it (X13)."""
    _write_to(orders.log)
    random.seed(orders.seed)
    if orders.mutant is not None:
        MUTANTS[orders.mutant].apply()
    parent, stop = os.getppid(), threading.Event()
    with orchestrator(orders) as ours:

        def end(*_: object) -> None:
            stop.set()
            ours.stop()

        signal.signal(signal.SIGTERM, end)
        while not stop.is_set() and os.getppid() == parent:
            try:
                # A pass sees what was due when it began: short ones see sooner what has become due since.
                report = ours.run(max_duration=orders.ttl)
                if report.error:
                    logger.info("a pass ended early: %s", report.error)
                _command(ours, orders)
            except StorageError as error:
                logger.info("no pass could begin, or no command be carried out: %s", error)
            stop.wait(random.uniform(0.2, 0.6))
    sys.exit(_left_behind())


def _command(ours: Orchestrator, orders: Orders) -> None:
    """Now and then what people order, while others are at work: none of them goes on with an old plan (PROTOCOL 2.11).

    A backfill that was carried out is a line of its file. Once the file ``settled`` is there nothing more is ordered,
    so that there is no more to do in the quiet than what the storm itself left.
    """
    if random.random() > COMMANDING or orders.settled.exists():
        return
    tenant = random.choice([*orders.starts])
    since = EPOCH + (orders.starts[tenant] - random.randint(1, MOST_BACK) * orders.window * 1_000_000) * MICROSECOND
    length = timedelta(seconds=orders.window)
    match random.choice(("pause", "resume", "trigger", "backfill", "backfill all", "replay")):
        case "pause":
            ours.pause(tenant, "storm", random.choice((*SCRIPTS, SILENT)), until=ours.now() + length / 12)
        case "resume":
            ours.resume(tenant)
        case "trigger":
            ours.trigger(tenant)
        case "replay":
            begin = since + length * random.uniform(0, MOST_BACK)
            ours.replay(tenant, "storm", LABEL, start=begin, end=begin + length)
        case which:
            chosen = [tenant] if which == "backfill" else [*orders.starts]
            ours.backfill(chosen, since=since)
            with orders.backfills.open("a", encoding="utf-8") as file:
                file.write("".join(f"{each} {micros(since)}\n" for each in chosen))


def _left_behind() -> int:
    """Whether a thread of ours goes on although the orchestrator is closed."""
    deadline = time.monotonic() + 5
    while ours := [thread.name for thread in threading.enumerate() if thread.name.startswith("tenantcollect")]:
        if time.monotonic() > deadline:
            logger.error("left behind: %s", ours)
            faulthandler.dump_traceback(all_threads=True)
            return LEFT_BEHIND
        time.sleep(0.05)
    return 0


def _write_to(log: Path) -> None:
    """What a worker says goes to a file: a failed storm shows it."""
    file = log.open("a", buffering=1)
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s", force=True
    )
