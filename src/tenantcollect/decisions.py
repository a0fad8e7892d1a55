"""What a decision about a key is: one reason, in words that say what helps (floor: settings, pure; G7)."""

from datetime import datetime
from shlex import quote

from attrs import evolve, frozen

from tenantcollect.keys import Key
from tenantcollect.planning import Plan
from tenantcollect.policy import Reason

__all__ = ["NEEDS_ACTION", "REPLAY", "RESUME", "Decision", "with_root"]

NEEDS_ACTION = frozenset(
    {
        Reason.PAUSED_BY_USER,
        Reason.AUTH_FAILED,
        Reason.CONFIG_INVALID,
        Reason.BREAKER_OPEN,
        Reason.DEPENDENCY_ERROR,
        Reason.COLLECTOR_MISSING,
        Reason.COLLECTOR_BROKEN,
    }
)
RESUME = "tenantcollect resume {t} {s}"
REPLAY = "collect it anew: tenantcollect replay {t} {s} {c}"
ACTIONS = {
    Reason.AUTH_FAILED: "set working credentials: tenantcollect config set {t} {s} KEY=-  "
    "(or, if they work again: tenantcollect resume {t} {s})",
    Reason.CONFIG_INVALID: "correct the configuration: tenantcollect config set {t} {s} KEY=VALUE",
    Reason.PAUSED_BY_USER: RESUME,
    Reason.BREAKER_OPEN: "find the cause in: tenantcollect history {t} {s} {c}; then: tenantcollect resume {t} {s} {c}",
    Reason.DEPENDENCY_ERROR: "configure or install what provides the resource, or correct dependencies(); "
    "see: tenantcollect plugins",
    Reason.COLLECTOR_MISSING: "install the package that brings {s}.{c}, or: tenantcollect config unset {t} {s}",
    Reason.COLLECTOR_BROKEN: "repair or upgrade the package of {s}.{c}; see: tenantcollect plugins",
    Reason.NOT_CONFIGURED: "tenantcollect config set {t} {s} KEY=VALUE",
    Reason.UNATTENDED: "run passes regularly: tenantcollect run",
}


@frozen(kw_only=True)
class Decision:
    """The one reason of a key. ``until`` is when it ends by itself; ``plan`` is there when planning was reached.

    ``moving`` = it may still extend its coverage soon, so dependents wait for whole windows. ``cure`` = what helps.
    """

    key: Key
    reason: Reason
    since: datetime | None = None
    until: datetime | None = None
    detail: str = ""
    cure: str | None = None
    root_cause: str | None = None
    root_reason: Reason | None = None
    root_action: str | None = None
    plan: Plan | None = None
    moving: bool = False

    @property
    def runnable(self) -> bool:
        """Whether a window may be claimed now."""
        return self.reason in (Reason.RUNNABLE, Reason.UNATTENDED)

    @property
    def needs_action(self) -> bool:
        """Whether nothing will happen until someone acts on this very key."""
        return self.reason in NEEDS_ACTION

    @property
    def blocks(self) -> bool:
        """Whether somebody must act before this key goes on: a pause that a user wanted is none."""
        roots = NEEDS_ACTION - {Reason.PAUSED_BY_USER}
        return self.reason in roots or self.root_reason in roots

    @property
    def action(self) -> str | None:
        """What to do, as a command, here or at the root of the chain; None = nothing, it ends by itself."""
        if (text := self.cure or ACTIONS.get(self.reason)) is None:
            return self.root_action
        return text.format(t=quote(self.key.tenant_id), s=self.key.data_source, c=self.key.script)


def with_root(decision: Decision) -> Decision:
    """``decision``, as its own root cause where it has no other and something is wrong."""
    quiet = (Reason.UP_TO_DATE, Reason.NOT_DUE, Reason.RUNNABLE, Reason.RUNNING, Reason.UNATTENDED)
    if decision.root_cause or decision.reason in quiet:
        return decision
    text = f"{decision.key.collector}: {decision.reason.value}"
    first_line = decision.detail.split("\n", 1)[0]
    return evolve(decision, root_cause=f"{text} ({first_line})" if first_line else text, root_reason=decision.reason)
