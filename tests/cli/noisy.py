"""A host's app that prints wherever other people's code runs: by Python, by its bytes, by a program it starts."""

import os
import subprocess
import sys

from tenantcollect import Orchestrator, hookimpl
from tenantcollect.backends.memory import MemoryBackend

NOISE = "no\x1b[31mise"


def chatter(where: str) -> None:
    """Everything at once, on both streams."""
    print(NOISE, where)  # noqa: T201 - what authors leave in
    print(NOISE, "x" * 100_000, file=sys.stderr)  # noqa: T201
    sys.stdout.writelines([NOISE, "\n"])
    os.write(1, b"bytes\n")
    subprocess.run(["echo", "of a program"], check=True)
    sys.stdout.close()


class Noisy:
    @hookimpl
    def dependencies(self) -> list[str]:
        chatter("while it is loaded")
        return []

    @hookimpl
    def check(self) -> None:
        chatter("while it is checked")

    @hookimpl
    def run(self) -> None:
        chatter("while it runs")


def build() -> Orchestrator:
    """One tenant, on the memory backend."""
    chatter("while it is built")
    backend = MemoryBackend()
    orchestrator = Orchestrator(
        state=backend.state, locks=backend.locks, catalog=backend.catalog, collectors={"hub.noisy": Noisy()}
    )
    orchestrator.configure("acme", "hub", {})
    return orchestrator


chatter("while it is imported")
