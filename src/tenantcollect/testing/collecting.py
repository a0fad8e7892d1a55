"""One window of one collector, for a test: its rows, or its error (floor: testing)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from tenantcollect.testing.collector import Collected, CollectorHarness
from tenantcollect.testing.finding import registry_of
from tenantcollect.testing.stored import Seed
from tenantcollect.windows import Window

__all__ = ["collect"]


def collect(
    module: object,
    *,
    env: Mapping[str, str],
    start: datetime,
    end: datetime,
    seed: Seed | None = None,
    cursor: Any = None,
    clock: Callable[[], datetime] | None = None,
    resume: Any = None,
    source: object | None = None,
    tenant_id: str = "acme",
) -> Collected:
    """Run the window ``[start, end)`` (aware) of ``module``, as the engine would, on a database of its own.

    ``module`` is what an entry point may name: a module, an object, or a class. If it is installed its data source
    comes with it; else ``source`` is the data source's plugin (``config``, ``tables``), unless the collector has
    these hooks itself. ``seed`` is what is there before: rows by table, such as those of an upstream, or a function
    that writes them through the session it is given. ``cursor`` and ``resume`` are what ``context`` holds at the
    start. ``clock`` (default: the end) is the time at which it runs.

    The database is a SQLite of this call only, in memory where the system can. The rules of ``db`` are the real
    ones: ``commit()`` joins, ``rollback()`` fails the window. What ``run`` raises is in ``error``, not raised; nothing
    is then kept but what a checkpoint made durable. Raises :class:`ConfigurationError` for a naive datetime, an env
    that the collector's config refuses, or a window that ends after ``clock()``, and :class:`PluginError` for hooks
    that cannot work.
    """
    window = Window(start, end)
    name, registry = registry_of(module, source)
    with CollectorHarness(registry, history_start=window.start) as harness:
        if seed is not None:
            harness.seed(seed)
        return harness.run(name, window, env=env, tenant_id=tenant_id, cursor=cursor, resume=resume, clock=clock)
