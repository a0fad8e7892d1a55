"""The rules for windows that do not end as they began: cancelled, killed, overtaken (floor: testing)."""

import threading
from itertools import count
from threading import Lock

from attrs import define, field

from tenantcollect.errors import WindowCancelled
from tenantcollect.testing.case import Case, described, require
from tenantcollect.testing.collectors import CollectorTests
from tenantcollect.testing.crashes import LOOKS, At, CrashAt

__all__ = ["DisturbanceRules"]

REMEMBERED = "keep nothing in variables of the module: what was seen before the crash may never have been committed"
MOMENT_SECONDS = 1.0


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
            require(not wrong, f"after a crash at {point} and a second run, {wrong}; {_order(case)}{REMEMBERED}")

    def test_a_lost_lease_writes_nothing(self, case: Case) -> None:
        """While another holder collects the window, ours may go on, but nothing of it is kept."""
        for point in dict.fromkeys(case.points[: case.points.index("returned")]):
            case.fresh()
            other = Overtaker(case)
            ours = case.run(at=At(point, other))
            if not other.came:
                continue
            lost = f"when the lease was lost at {point}"
            error = case.finish() if other.error is None else other.error
            require(error is None, f"{lost}, {case.script} failed for the other: {described(error)}")
            require(ours.error is not None, f"{lost}, {case.script} swallowed LeaseLost: let errors of checkpoint() go")
            wrong = case.differs(case.harness.rows())
            require(
                not wrong, f"{lost}, {wrong}; {_order(case)}write through db only, and share nothing between two runs"
            )

    def test_no_thread_is_left(self, case: Case) -> None:
        """A window that has ended, or was cancelled, leaves no thread that goes on with it."""
        for point, act in {"returned": lambda: None, LOOKS[-1]: case.harness.cancel}.items():
            left = min((threads_left(case, At(point, act)) for _ in range(3)), key=len)  # a pool grows, but not always
            require(
                not left,
                f"{case.script} left {len(left)} threads, such as {''.join(left[:1])}, which "
                "may still fetch when another holder has the key; join them, or use `with ThreadPoolExecutor()`",
            )


def threads_left(case: Case, at: At) -> list[str]:
    """The names of the threads that a run of the window has begun, and that do not end within a moment after it."""
    before = set(threading.enumerate())
    case.fresh()
    case.run(at=at)
    new = [thread for thread in threading.enumerate() if thread not in before]
    for thread in new:  # one that serves a connection of a fake has to see first that it is closed
        thread.join(MOMENT_SECONDS)
    return [thread.name for thread in new if thread.is_alive()]


def _order(case: Case) -> str:
    """What a script that makes a part durable has to heed besides, so that another run can finish the window."""
    if "checkpoint" not in case.points:
        return ""
    return "write the rows before you set the context.resume, or call the checkpoint(until), that leaves them out; "


@define(eq=False)
class Overtaker:
    """Gets the key, once: collects what is left of the window, or, where ours writes already, only makes ours lose it.

    Threads of a collector may reach a point together: the first is the one that it happens to.
    """

    case: Case
    error: BaseException | None = None
    _first: Lock = field(factory=Lock)

    @property
    def came(self) -> bool:
        """Whether the point was reached at all."""
        return self._first.locked()

    def __call__(self) -> None:
        if not self._first.acquire(blocking=False):
            return
        harness, case = self.case.harness, self.case
        if harness.writing:
            harness.lose()
            return
        for window in harness.rest(case.script, case.window, case.tenancy.tenant_id):
            done = harness.take_over(case.script, window, env=case.env, tenant_id=case.tenancy.tenant_id)
            self.error = self.error or done.error
