"""What a test needs that uses, extends or replaces a part of tenantcollect (floor: testing).

The suites need pytest, which is imported with them only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenantcollect.testing.clock import VirtualClock as VirtualClock
    from tenantcollect.testing.clock import skewed_clock as skewed_clock
    from tenantcollect.testing.collecting import collect as collect
    from tenantcollect.testing.collector import Collected as Collected
    from tenantcollect.testing.collector import CollectorHarness as CollectorHarness
    from tenantcollect.testing.crashes import COLLECTOR_POINTS as COLLECTOR_POINTS
    from tenantcollect.testing.crashes import POINTS as POINTS
    from tenantcollect.testing.crashes import At as At
    from tenantcollect.testing.crashes import CrashAt as CrashAt
    from tenantcollect.testing.crashes import Crashed as Crashed
    from tenantcollect.testing.crashes import DieAt as DieAt
    from tenantcollect.testing.harness import Harness as Harness
    from tenantcollect.testing.harness import MemoryHarness as MemoryHarness
    from tenantcollect.testing.lying import LyingLocks as LyingLocks
    from tenantcollect.testing.sql import PostgresqlHarness as PostgresqlHarness
    from tenantcollect.testing.sql import SqliteHarness as SqliteHarness
    from tenantcollect.testing.suites import CollectorSuite as CollectorSuite
    from tenantcollect.testing.suites import EffectivelyOnceSuite as EffectivelyOnceSuite
    from tenantcollect.testing.suites import LocksSuite as LocksSuite
    from tenantcollect.testing.suites import StateSuite as StateSuite

_HOME = {
    "collect": "collecting",
    "CollectorSuite": "suites",
    "CollectorHarness": "collector",
    "Collected": "collector",
    "COLLECTOR_POINTS": "crashes",
    "POINTS": "crashes",
    "At": "crashes",
    "CrashAt": "crashes",
    "Crashed": "crashes",
    "DieAt": "crashes",
    "EffectivelyOnceSuite": "suites",
    "Harness": "harness",
    "LocksSuite": "suites",
    "LyingLocks": "lying",
    "MemoryHarness": "harness",
    "PostgresqlHarness": "sql",
    "SqliteHarness": "sql",
    "StateSuite": "suites",
    "VirtualClock": "clock",
    "skewed_clock": "clock",
}

__all__ = sorted(_HOME)  # noqa: PLE0605 - the table above is the one list of public names


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
