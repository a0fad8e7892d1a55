"""The quiet after a storm: whatever is due must be finished, and soon."""

import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from tests.acceptance.storm.checker import OURS, Expected, Finding, process_of
from tests.acceptance.storm.collectors import micros
from tests.acceptance.storm.crew import Crew
from tests.acceptance.storm.plan import Figures
from tests.acceptance.storm.worker import Orders

__all__ = ["quieten"]

LONGEST_STANDSTILL = 30.0
"""How long nothing at all may be sealed in the quiet while something is due: no machine is so slow."""


def quieten(watch: sa.Engine, crew: Crew, figures: Figures, orders: Orders) -> Expected:
    """Let the workers finish what is due now and end them; what must hold then."""
    orders.quiet.touch()
    quiet_at = micros(_now(watch))
    # A window becomes due when it is whole, so nothing older than one window may be missing.
    end = quiet_at - round(orders.window * 1_000_000)
    complete = {tenant: (start, end) for tenant, start in _starts(watch, figures, orders).items()}
    figures.freed = _freed(watch, crew, quiet_at)
    _calm_down(watch, crew, figures, dict.fromkeys(complete, end))
    _judge_time(figures, 2 * orders.ttl * figures.plan.slack)
    return Expected(
        complete=complete,
        quiet_at=quiet_at,
        ttl=round(orders.ttl * 1_000_000),
        ended=crew.end(),
        calls=Counter(_lines(orders.calls)),
    )


def _starts(watch: sa.Engine, figures: Figures, orders: Orders) -> dict[str, int]:
    """Where the history of each tenant begins now: no later than what was ordered, the same for all its keys."""
    wanted = dict(orders.starts)
    for tenant, since in map(str.split, _lines(orders.backfills)):
        wanted[tenant] = min(wanted[tenant], int(since))
    run = OURS.run
    with watch.connect() as connection:
        found = connection.execute(sa.select(run.c.tenant_id, run.c.script, run.c.history_start)).all()
    starts: dict[str, int] = {}
    for tenant, script, start in found:
        starts.setdefault(tenant, micros(start))
        if micros(start) > wanted[tenant] or micros(start) != starts[tenant]:
            figures.findings.append(Finding("backfill", f"{tenant}.{script}", f"begins at {start} all the same"))
    return starts


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _judge_time(figures: Figures, most: float) -> None:
    """X14, and that all is done soon: a lease ends within one TTL, every key is finished within two."""
    if figures.freed > most / 2:
        figures.findings.append(Finding("late", "leases", f"free after {figures.freed:.1f} s"))
    if figures.quiet is not None and figures.quiet > most:
        figures.findings.append(Finding("late", ", ".join(figures.last), f"done after {figures.quiet:.1f} s"))


def _now(watch: sa.Engine) -> datetime:
    """The time that leases and planning go by."""
    if watch.dialect.name == "sqlite":
        return datetime.now(UTC)
    with watch.connect() as connection:
        now: datetime = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
        return now.astimezone(UTC)


def _calm_down(watch: sa.Engine, crew: Crew, figures: Figures, due: Mapping[str, int]) -> None:
    """Until every key has collected what was due when the quiet began."""
    began = moved_at = time.monotonic()
    before: dict[tuple[str, str], str] = {}
    while True:
        crew.fill()
        ends, coverage = _standing(watch)
        now = time.monotonic()
        late = sorted(".".join(key) for key, at in ends.items() if at < due[key[0]])
        if not late:
            figures.quiet = now - began
            return
        figures.last = late[:3]
        before, moved_at = coverage, moved_at if coverage == before else now
        if now - moved_at > LONGEST_STANDSTILL:
            figures.findings.append(Finding("standstill", ", ".join(late), "nobody collects what is due"))
            return
        time.sleep(0.1)


def _freed(watch: sa.Engine, crew: Crew, quiet_at: int) -> float:
    """When the last lease of a worker that is no more ends, in seconds from the quiet (X14)."""
    alive = {member.pid for member in crew.members}
    with watch.connect() as connection:
        leases = connection.execute(sa.select(OURS.lease).where(OURS.lease.c.token.is_not(None))).all()
    ends = [micros(one.expires_at) for one in leases if process_of(one.owner) not in alive]
    return max(0.0, (max(ends, default=quiet_at) - quiet_at) / 1_000_000)


def _standing(watch: sa.Engine) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], str]]:
    """Up to where each key is covered without a hole, and all that it covers."""
    run = OURS.run
    with watch.connect() as connection:
        asked = sa.select(run.c.tenant_id, run.c.script, run.c.last_fetched_data_date, run.c.coverage)
        found = connection.execute(asked).all()
    ends = {(tenant, script): micros(at) if at else 0 for tenant, script, at, _ in found}
    return ends, {(tenant, script): coverage for tenant, script, _, coverage in found}
