"""A host's app with more tenants than a table shows; what is wrong is wrong with the last one.

The last tenant was collected ten days ago, and refuses its check. All others are new, and stand before it in status.
"""

from datetime import UTC, datetime, timedelta
from functools import partial

from tenantcollect import AuthenticationError, Orchestrator, hookimpl
from tenantcollect.backends.memory import MemoryBackend

LAST = "t119"


class Crowd:
    @hookimpl
    def check(self, tenant_id: str) -> str:
        if tenant_id == LAST:
            raise AuthenticationError
        return "welcome"

    @hookimpl
    def import_window_duration(self) -> None:
        return None

    @hookimpl
    def run(self) -> None: ...


def build() -> Orchestrator:
    """120 tenants on the memory backend."""
    backend, now = MemoryBackend(), datetime.now(UTC)
    make = partial(
        Orchestrator,
        state=backend.state,
        locks=backend.locks,
        catalog=backend.catalog,
        collectors={"hub.thing": Crowd()},
    )
    with make(clock=lambda: now - timedelta(days=10)) as earlier:
        earlier.configure(LAST, "hub", {})
        earlier.run()
    orchestrator = make()
    for number in range(119):
        orchestrator.configure(f"t{number:03}", "hub", {}, since=now)
    return orchestrator
