"""The workers of a storm: killed, paused, replaced, and told to end at last."""

import multiprocessing
import os
import signal
import time
from multiprocessing.process import BaseProcess

from attrs import define, evolve, field

from tests.acceptance.storm.checker import Finding
from tests.acceptance.storm.worker import Orders, work

__all__ = ["Crew"]

LONGEST_END = 60.0


@define(kw_only=True)
class Crew:
    """The workers: each that is killed is replaced at once."""

    orders: Orders
    size: int
    findings: list[Finding]
    members: list[BaseProcess] = field(factory=list)
    paused: dict[int, float] = field(factory=dict)
    _made: int = 0

    def start(self) -> BaseProcess:
        """One more worker, forked from a process that has the imports done."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.acceptance.storm.worker"])
        self._made += 1
        orders = evolve(self.orders, seed=f"{self.orders.seed}:{self._made}")
        member = context.Process(target=work, args=(orders,), daemon=True)
        member.start()
        return member

    def fill(self) -> None:
        """Replace whoever is gone; who ended without being told to is a finding."""
        for member in list(self.members):
            if member.exitcode is not None:
                self.members.remove(member)
                self._note(member, wanted=(-signal.SIGKILL,))
                member.close()
        while len(self.members) < self.size:
            self.members.append(self.start())

    def _note(self, member: BaseProcess, wanted: tuple[int, ...]) -> None:
        if member.exitcode not in wanted:
            self.findings.append(Finding("worker", str(member.pid), f"ended with {member.exitcode}"))

    def signal(self, member: BaseProcess, number: int) -> None:
        """Send a signal to a member that is still there."""
        if member.pid is not None and member.exitcode is None:
            os.kill(member.pid, number)

    def end(self) -> set[int]:
        """Tell all to end, see that they do (X13), and say who they were."""
        told = {member.pid or 0 for member in self.members}
        for member in self.members:
            self.signal(member, signal.SIGTERM)
        deadline = time.monotonic() + LONGEST_END
        for member in self.members:
            member.join(max(0.0, deadline - time.monotonic()))
            self._note(member, wanted=(0,))
        self.kill()
        return told

    def kill(self) -> None:
        """No worker outlives the storm, whatever became of it."""
        for member in self.members:
            member.kill()
            member.join()
            member.close()
        self.members.clear()
