"""An orchestrator on the memory backend, a clock that stands still, and collectors made on the spot."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tenantcollect import Orchestrator, hookimpl
from tenantcollect.backends.memory import MemoryBackend

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **parts: float) -> None:
        """Move on by a timedelta of these parts."""
        self.now += timedelta(**parts)


class Calls:
    """What was asked of a collector, in order: (tenant_id, start_date, end_date)."""

    def __init__(self) -> None:
        self.made: list[tuple[str, datetime, datetime]] = []

    def of(self, tenant_id: str) -> list[tuple[datetime, datetime]]:
        """The ranges asked for one tenant."""
        return [(start, end) for tenant, start, end in self.made if tenant == tenant_id]


def collector(
    run: Callable[..., Any],
    *,
    depends: tuple[str, ...] = (),
    duration: timedelta | None = timedelta(hours=24),
    options: Any = None,
) -> object:
    """A collector object with these answers."""
    parts: dict[str, Any] = {
        "run": staticmethod(hookimpl(run)),
        "dependencies": staticmethod(hookimpl(lambda: list(depends))),
        "import_window_duration": staticmethod(hookimpl(lambda: duration)),
    }
    if options is not None:
        parts["options"] = staticmethod(hookimpl(lambda: options))
    return type("Made", (), parts)()


def recording(calls: Calls, action: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A ``run`` that notes its window, then does what it is given."""

    def run(env: Mapping[str, str], tenant_id: str, start_date: datetime, end_date: datetime, context: Any) -> Any:
        calls.made.append((tenant_id, start_date, end_date))
        if action is not None:
            return action(env=env, tenant_id=tenant_id, start=start_date, end=end_date, context=context)
        return 1

    return run


@pytest.fixture
def clock() -> Clock:
    """The clock of planning, of leases and of state."""
    return Clock()


@pytest.fixture
def backend(clock: Clock) -> MemoryBackend:
    """A memory backend on that clock."""
    return MemoryBackend(clock=clock)


@pytest.fixture
def make(backend: MemoryBackend, clock: Clock) -> Iterator[Callable[..., Orchestrator]]:
    """Makes orchestrators on one backend; each may be called another process."""
    made: list[Orchestrator] = []

    def orchestrator(collectors: Mapping[str, object], **options: Any) -> Orchestrator:
        one = Orchestrator(
            state=backend.state,
            locks=backend.locks,
            catalog=backend.catalog,
            clock=clock,
            collectors=collectors,
            **options,
        )
        made.append(one)
        return one

    yield orchestrator
    for one in made:
        one.close()
