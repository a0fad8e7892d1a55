"""The storm's collectors: what they write tells by itself whether anything was lost, doubled, cut or mixed up.

Each window gets one ``begin`` row, one ``event`` row per whole second of the window, and one ``end`` row with their
number. No key is unique: what is written twice is there twice. Each row names its tenant as its collector knows it
(env), as it was called (tenant_id), and as the server was told (bound_to).

Two scripts differ. ``label`` replaces its events, so that it may be replayed; ``silent`` writes nothing, and keeps a
cursor. Every call is noted in a file, whatever becomes of its window.
"""

import math
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tenantcollect import CollectorOptions, hookimpl

__all__ = ["LABEL", "SCRIPTS", "SILENT", "UPSTREAMS", "collectors", "events_of", "row", "seconds_of"]

UPSTREAMS: Mapping[str, str] = {"commit": "repository", "silent": "commit"}
SCRIPTS = ("commit", "issue", "repository", "review")
"""Those that write whole windows."""
LABEL, SILENT = "label", "silent"

metadata = sa.MetaData()
row = sa.Table(
    "storm_row",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    *(sa.Column(name, sa.Text) for name in ("env_tenant", "tenant_id", "bound_to", "script", "kind")),
    sa.Column("window_start", sa.BigInteger),
    sa.Column("window_end", sa.BigInteger),
    sa.Column("at", sa.BigInteger),
    sa.Column("covered", sa.BigInteger),
)
BOUND = sa.func.current_setting("tenantcollect.tenant_id", True)
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Microseconds since 1970: exact, and compared by both databases."""
    return (moment - EPOCH) // MICROSECOND


def seconds_of(start: int, end: int) -> range:
    """The whole seconds in ``[start, end)``, which are in microseconds."""
    return range(math.ceil(start / 1_000_000), math.ceil(end / 1_000_000))


def events_of(script: str, tenant_id: str, start: int, end: int) -> Any:
    """The event rows of a script in ``[start, end)``."""
    mine = (row.c.script == script, row.c.tenant_id == tenant_id, row.c.kind == "event")
    seconds = seconds_of(start, end)
    return sa.select(sa.func.count()).where(*mine, row.c.at >= seconds.start, row.c.at < seconds.stop)


class Source:
    """What the scripts share."""

    @hookimpl
    def tables(self) -> sa.MetaData:
        return metadata


class Script:
    """One script. Whether a call is slow, impolite or makes a part durable early is drawn anew each time."""

    def __init__(self, name: str, duration: timedelta, slowness: float, quiet: Path, calls: Path) -> None:
        self.name, self.duration, self.slowness, self.quiet, self.calls = name, duration, slowness, quiet, calls

    @hookimpl
    def dependencies(self) -> list[str]:
        return [UPSTREAMS[self.name]] if self.name in UPSTREAMS else []

    @hookimpl
    def import_window_duration(self) -> timedelta:
        return self.duration

    @hookimpl
    def options(self) -> CollectorOptions:
        """Whole windows only: the piece at the horizon becomes due when it is whole. But for one script, of which a
        window ends at the horizon of whoever plans it.
        """
        interval = self.duration / 4 if self.name == "issue" else self.duration
        return CollectorOptions(interval=interval, concurrency_per_tenant=4, window_timeout=timedelta(minutes=1))

    @hookimpl
    def run(self, env: Any, db: Any, tenant_id: str, start_date: datetime, end_date: datetime, context: Any) -> int:
        who = {"env_tenant": env["TENANT"], "tenant_id": tenant_id, "script": self.name}
        start, end = micros(start_date), micros(end_date)
        with self.calls.open("a", encoding="utf-8") as file:
            file.write(f"{tenant_id} {self.name} {start}\n")
        self._dawdle()
        if self.name == LABEL:
            return self._replace(db, who, start, end)
        if self.name == SILENT:
            return self._count(end, context)
        middle = start + (end - start) // 2
        if self.name == "review" and context.resume is None and self._happens(0.3):
            self._collect(db, who, start, middle, context)
            context.checkpoint(EPOCH + middle * MICROSECOND)
            start = middle
        self._collect(db, who, start, end, context)
        return len(seconds_of(start, end))

    def _collect(self, db: Any, who: Mapping[str, str], start: int, end: int, context: Any) -> None:
        """The rows of one window, in several statements."""
        told = {**who, "window_start": start, "window_end": end}
        for number, rows in enumerate(_parts(start, end)):
            if number < (context.resume or 0):
                continue
            _insert(db, told, rows)
            if self.name == "issue" and number == 0 and self._happens(0.15):
                context.resume = number + 1
                context.checkpoint()
            if self.name != "review" and self._happens(0.02):
                _commit_behind_its_back(db)
            self._dawdle()
        upstream = events_of(UPSTREAMS.get(self.name, self.name), who["tenant_id"], start, end)
        covered = db.scalar(upstream)
        if self.name in UPSTREAMS:
            covered = min(covered, *context.read(upstream)[0])
        _insert(db, told, [{"kind": "end", "at": len(seconds_of(start, end)), "covered": covered}])

    def _replace(self, db: Any, who: Mapping[str, str], start: int, end: int) -> int:
        """The events of the window, instead of those that are there."""
        mine = [row.c[name] == who[name] for name in ("tenant_id", "script")]
        seconds = seconds_of(start, end)
        db.execute(row.delete().where(*mine, row.c.at >= seconds.start, row.c.at < seconds.stop))
        self._dawdle()
        told = {**who, "window_start": start, "window_end": end}
        _insert(db, told, [{"kind": "event", "at": second} for second in seconds])
        return len(seconds)

    def _count(self, end: int, context: Any) -> int:
        """No row, but how many windows have moved the newest end, and how far."""
        context.cursor = {"until": end, "seals": (context.cursor or {"seals": 0})["seals"] + 1}
        return 0

    def _happens(self, chance: float) -> bool:
        """Now and then, as long as the storm lasts."""
        return random.random() < chance and not self.quiet.exists()

    def _dawdle(self) -> None:
        """Mostly not at all; now and then for a moment; seldom for longer than a lease."""
        if self._happens(0.003):
            time.sleep(3.0 * self.slowness)
        elif self._happens(0.15):
            time.sleep(random.uniform(0.0, 0.6) * self.slowness)


def _parts(start: int, end: int) -> Iterator[list[dict[str, Any]]]:
    """What is written by one statement after the other."""
    seconds = seconds_of(start, end)
    half = len(seconds) // 2
    yield [{"kind": "begin"}]
    for part in (seconds[:half], seconds[half:]):
        yield [{"kind": "event", "at": second} for second in part]


def _insert(db: Any, told: Mapping[str, Any], rows: list[dict[str, Any]]) -> None:
    bound = BOUND if db.get_bind().dialect.name == "postgresql" else sa.literal(told["tenant_id"])
    if rows:
        db.execute(row.insert().values(bound_to=bound), [{**told, **one} for one in rows])


def _commit_behind_its_back(db: Any) -> None:
    """What no collector should do: end the transaction through the driver, and say nothing."""
    with suppress(Exception):
        db.connection().connection.driver_connection.execute("COMMIT")


def collectors(duration: timedelta, slowness: float, quiet: Path, calls: Path) -> dict[str, object]:
    """What an orchestrator is given. Once the file ``quiet`` is there, everybody behaves well and is quick; each call
    of a script is a line of the file ``calls``.
    """
    names = (*SCRIPTS, LABEL, SILENT)
    return {"storm": Source(), **{f"storm.{name}": Script(name, duration, slowness, quiet, calls) for name in names}}
