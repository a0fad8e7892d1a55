"""What a pass has done so far, in bounded memory."""

from datetime import datetime

from attrs import define, evolve, field

from tenantcollect.decisions import Decision, with_root
from tenantcollect.keys import Key
from tenantcollect.policy import Reason
from tenantcollect.reports import KeyReport, PassReport, WindowCounts
from tenantcollect.worker import Outcome

__all__ = ["Tally"]

MOST_KEYS_REPORTED = 1000


@define(kw_only=True)
class Tally:
    """What the report will say; keeps at most 1000 keys, those in trouble rather than the others."""

    completed: int = 0
    failed: int = 0
    needs_action: bool = False
    waiting: set[Key] = field(factory=set)
    busy: set[Key] = field(factory=set)
    keys: dict[Key, KeyReport] = field(factory=dict)

    def decided(self, decision: Decision) -> None:
        """Note why a key did not run."""
        if decision.blocks:
            self.needs_action = True
        if decision.reason in (Reason.WAITING_FOR_UPSTREAM, Reason.RATE_LIMITED, Reason.BACKOFF):
            self.waiting.add(decision.key)
        row = self._row(decision.key)
        self._keep(
            decision.key,
            evolve(
                row,
                reason=decision.reason.value,
                detail=decision.detail or None,
                action=decision.action,
                root_cause=decision.root_cause,
            ),
        )

    def ended(self, outcome: Outcome) -> None:
        """Note how a turn ended."""
        self.completed += outcome.completed
        self.failed += outcome.failed
        self.needs_action |= outcome.failed
        self.waiting.discard(outcome.key)
        self.busy.discard(outcome.key)
        if outcome.reason and not outcome.failed and not outcome.again:
            self.waiting.add(outcome.key)
        row = self._row(outcome.key)
        # Nothing was wrong; whether there is more to do, only the next look at the key can tell.
        reason = outcome.reason or Reason.RUNNABLE
        told = with_root(Decision(key=outcome.key, reason=reason, detail=outcome.error or "", cure=outcome.cure))
        self._keep(
            outcome.key,
            evolve(
                row,
                reason=reason.value,
                completed=row.completed + outcome.completed,
                failed=row.failed + outcome.failed,
                error=outcome.error,
                action=told.action,
                root_cause=told.root_cause,
            ),
        )

    def undecided(self) -> list[Key]:
        """The keys that were not looked at again after their turn."""
        return [key for key, row in self.keys.items() if row.reason == Reason.RUNNABLE.value]

    def _row(self, key: Key) -> KeyReport:
        known = self.keys.get(key)
        return known or KeyReport(
            tenant_id=key.tenant_id,
            data_source=key.data_source,
            script=key.script,
            reason=Reason.RUNNABLE.value,
        )

    def _keep(self, key: Key, row: KeyReport) -> None:
        if key not in self.keys and len(self.keys) >= MOST_KEYS_REPORTED:
            quiet = next((k for k, r in self.keys.items() if not r.failed and not r.action), None)
            if quiet is None or not (row.failed or row.action):
                return
            del self.keys[quiet]
        self.keys[key] = row

    def report(self, started_at: datetime, completed_at: datetime, error: str | None) -> PassReport:
        """The frozen result."""
        rows = sorted(self.keys.items(), key=lambda item: (not item[1].failed, not item[1].action, item[0]))
        return PassReport(
            started_at=started_at,
            completed_at=completed_at,
            windows=WindowCounts(
                completed=self.completed,
                failed=self.failed,
                waiting=len(self.waiting),
                busy=len(self.busy),
            ),
            keys=tuple(row for _, row in rows),
            needs_action=self.needs_action,
            error=error,
        )
