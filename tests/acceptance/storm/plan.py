"""What a storm is to be, and what came of it."""

from collections import Counter

from attrs import define, field, frozen

from tests.acceptance.storm.checker import Finding

__all__ = ["Figures", "Plan"]


@frozen(kw_only=True)
class Plan:
    """A storm to ride. ``server`` None = SQLite, which knows no faults of a server."""

    seed: int
    seconds: float
    server: bool = True
    evict: bool = True
    pooler: bool = False
    mutant: str | None = None
    processes: int = 8
    tenants: int = 20
    ttl: float = 2.0
    window: float = 12.0
    slack: float = 1.0
    """How many times longer than promised all may take: more on a machine that others use too."""

    @property
    def command(self) -> str:
        """What rides it again."""
        words = [f"nox -s storm -- --seeds {self.seed} --seconds {self.seconds:g} --window {self.window:g}"]
        words += [f"--processes {self.processes} --tenants {self.tenants} --slack {self.slack:g}"]
        words += [] if self.server else ["--database sqlite"]
        words += [] if self.evict else ["--evict off"]
        words += ["--pooler"] if self.pooler else []
        words += [f"--mutant {self.mutant}"] if self.mutant else []
        return " ".join(words)


@define(kw_only=True)
class Figures:
    """What happened, in seconds from the last fault: ``freed`` = until no killed worker's lease held any key,
    ``quiet`` = until every key had what was due when the faults ended, and ``last`` = who was last.
    """

    plan: Plan
    faults: Counter[str] = field(factory=Counter)
    attempts: Counter[str] = field(factory=Counter)
    rows: int = 0
    freed: float = 0.0
    quiet: float | None = None
    findings: list[Finding] = field(factory=list)
    last: list[str] = field(factory=list)
    said: str = ""

    def __str__(self) -> str:
        shown = [*map(str, self.findings[:20]), f"... {len(self.findings)} findings", f"repeat: {self.plan.command}"]
        return "\n".join([*shown, self.said])
