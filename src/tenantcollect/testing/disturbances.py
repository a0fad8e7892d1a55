"""The rules for windows that do not end as they began: cancelled, killed, overtaken (floor: testing)."""

from itertools import count

from tenantcollect.errors import WindowCancelled
from tenantcollect.testing.case import Case, described, require
from tenantcollect.testing.collectors import CollectorTests
from tenantcollect.testing.crashes import LOOKS, At, CrashAt

__all__ = ["DisturbanceRules"]


class DisturbanceRules(CollectorTests):
    """Whatever happens to a window, its rows are there once, or not at all."""

    def test_a_cancelled_window_ends(self, case: Case) -> None:
        """A window that is told to end does so at its next look, and keeps nothing."""
        looks = sum(point in LOOKS for point in case.points)
        require(
            looks or case.script in self.short,
            f"{case.script} never looks whether it was cancelled: call context.raise_if_cancelled() in its "
            "loops; if it is one quick request, name it in `short`",
        )
        case.fresh()
        unheard = case.run(at=At("returned", case.harness.cancel))
        self._kept(case, unheard.rows, "it was cancelled")
        for number in sorted({1, (looks + 1) // 2, looks} - {0}):
            self._cancelled_at(case, number)

    def _cancelled_at(self, case: Case, number: int) -> None:
        """Cancel at the numbered look, if there is one: a script that has cached something may look less often."""
        looks = count(1)

        def cancel(point: str) -> None:
            if point in LOOKS and next(looks) == number:
                case.harness.cancel()

        case.fresh()
        ended = case.run(at=cancel)
        if next(looks) <= number:
            return
        require(
            "returned" not in case.harness.watched.points,
            f"{case.script} went on after it was cancelled: let WindowCancelled go, "
            "an `except Exception` around the loop must raise it again",
        )
        require(
            isinstance(ended.error, WindowCancelled),
            f"{case.script} turned the cancellation into {described(ended.error)}: let WindowCancelled go",
        )
        self._kept(case, ended.rows, "it was cancelled")

    def _kept(self, case: Case, rows: dict[str, list[dict[str, object]]], why: str) -> None:
        """Nothing is kept of a window that did not end well, unless a checkpoint made it durable."""
        if "checkpoint" in case.points:
            return
        wrong = case.differs(rows, case.before)
        require(not wrong, f"{case.script} kept rows although {why}: {wrong}; write through db only")

    def test_a_crash_loses_nothing(self, case: Case) -> None:
        """Wherever the process dies in the window, the next holder ends with the same rows."""
        for point in dict.fromkeys(case.points):
            case.fresh()
            crashed = case.run(at=CrashAt(point))
            if point != "after_commit":
                self._kept(case, crashed.rows, f"the process died at {point}")
            done = case.finish()
            require(done is None, f"after a crash at {point} {case.script} failed: {described(done)}")
            wrong = case.differs(case.harness.rows())
            require(
                not wrong,
                f"after a crash at {point} and a second run, {wrong}; keep nothing in variables of the module: "
                "what was seen before the crash may never have been committed",
            )

    def test_a_lost_lease_writes_nothing(self, case: Case) -> None:
        """While another holder collects the window, ours may go on, but nothing of it is kept."""
        for point in dict.fromkeys(case.points[: case.points.index("returned")]):
            case.fresh()
            overtakers: list[BaseException | None] = []
            ours = case.run(at=At(point, lambda: self._take_over(case, overtakers)))  # noqa: B023 - called now
            if not overtakers:
                continue
            lost = f"when the lease was lost at {point}"
            require(overtakers[0] is None, f"{lost}, {case.script} failed for the other: {described(overtakers[0])}")
            require(ours.error is not None, f"{lost}, {case.script} swallowed LeaseLost: let errors of checkpoint() go")
            wrong = case.differs(ours.rows)
            require(not wrong, f"{lost}, {wrong}; write through db only, and share nothing between two runs")

    def _take_over(self, case: Case, overtakers: list[BaseException | None]) -> None:
        """Let another holder finish the window, once, if ours has not begun to write."""
        harness, tenant_id = case.harness, case.tenancy.tenant_id
        for window in harness.rest(case.script, self.window, tenant_id):
            if not overtakers and not harness.writing:
                done = harness.take_over(case.script, window, env=case.env, tenant_id=tenant_id)
                overtakers.append(done.error)
