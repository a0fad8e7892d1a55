"""Storms on demand: `nox -s storm -- --seeds 1-5 --seconds 60`, or `python -m tests.acceptance.storm`."""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import evolve

from tests.acceptance.storm.mutants import MUTANTS
from tests.acceptance.storm.plan import Figures, Plan
from tests.acceptance.storm.server import NoServer, running
from tests.acceptance.storm.storm import ride

__all__ = ["ridden"]


def main(words: Sequence[str]) -> int:
    """Ride what was asked for; 1 if there was harm, or a mutant that nobody caught; 2 if there is no server."""
    asked = _arguments().parse_args(words)
    first, _, last = asked.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    plan = Plan(
        seed=seeds[0],
        seconds=asked.seconds,
        server=asked.database == "postgresql",
        evict=asked.evict == "on",
        pooler=asked.pooler,
        window=asked.window,
        processes=asked.processes,
        tenants=asked.tenants,
        slack=asked.slack,
    )
    mutants = list(MUTANTS) if asked.mutant == "all" else [asked.mutant]
    try:
        return max([_hunted(evolve(plan, mutant=m), seeds) if m else _stood(plan, seeds) for m in mutants])
    except NoServer as reason:
        say(str(reason))
        return 2


def _stood(plan: Plan, seeds: Iterable[int]) -> int:
    """Whether any seed did harm."""
    harm = 0
    for seed in seeds:
        figures = ridden(evolve(plan, seed=seed))
        say(summary(figures))
        if figures.findings:
            say(str(figures))
            harm = 1
    return harm


def _hunted(plan: Plan, seeds: Iterable[int]) -> int:
    """Whether a mutant got away: no seed caught it, or one did although another net should have held."""
    mutant = MUTANTS[plan.mutant or ""]
    kinds: Counter[str] = Counter()
    seed = plan.seed
    for seed in seeds:
        figures = ridden(evolve(plan, seed=seed))
        kinds = Counter(finding.kind for finding in figures.findings)
        if kinds:
            break
    found = ", ".join(f"{times} {kind}" for kind, times in kinds.most_common()) or "nothing"
    say(f"{plan.mutant} ({mutant.says}): {found} by seed {seed}, {'should hold' if mutant.holds else 'to be caught'}")
    return int(bool(kinds) == mutant.holds)


def ridden(plan: Plan) -> Figures:
    """One storm in a folder of its own; SQLite's is in memory where there is such a thing, as kill -9 spares it."""
    memory = Path("/dev/shm")
    fast = str(memory) if not plan.server and memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="storm-", dir=fast) as name:
        folder = Path(name)
        try:
            if not plan.server:
                return ride(plan, folder)
            with running(folder) as server:
                return ride(plan, folder, server)
        except Exception as error:
            error.add_note(f"repeat: {plan.command}")
            raise


def summary(figures: Figures) -> str:
    """A storm in one line."""
    counts = ", ".join(f"{times} {what}" for what, times in (figures.faults + figures.attempts).items())
    quiet = "never done" if figures.quiet is None else f"done after {figures.quiet:.1f} s"
    last = f" ({', '.join(figures.last)} last)" if figures.last else ""
    ends = f"keys free after {figures.freed:.1f} s, {quiet}{last}"
    return f"seed {figures.plan.seed}: {counts}, {figures.rows} rows; {ends}; {len(figures.findings)} findings"


def say(text: str) -> None:
    """To whoever waits."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="storm", description=__doc__)
    parser.add_argument("--seeds", default="1-5", help="one seed, or the first and the last: 1-5")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the faults last")
    parser.add_argument("--window", type=float, default=12.0, help="seconds of one window: longer is less work")
    parser.add_argument("--processes", type=int, default=8, help="how many orchestrators run passes at once")
    parser.add_argument("--tenants", type=int, default=20, help="each has six keys")
    parser.add_argument("--slack", type=float, default=1.0, help="how many times longer all may take")
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--evict", choices=("on", "off"), default="on", help="off: former holders are left alone")
    parser.add_argument("--pooler", action="store_true", help="through pgbouncer in transaction mode, if it is on PATH")
    parser.add_argument("--mutant", choices=(*MUTANTS, "all"), help="a net that is cut: harm is then expected")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
