"""What every turn works with, and the env of one window (floor: engine)."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attrs import field, frozen

from tenantcollect.collectors import Collector
from tenantcollect.events import Event
from tenantcollect.locks import Locks
from tenantcollect.settings import Settings
from tenantcollect.state import State

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["Learn", "Parts", "Resolved"]


@frozen(kw_only=True)
class Resolved:
    """The env of one window and its validated form. Never stored, never shown."""

    env: Mapping[str, str] = field(repr=False)
    config: "BaseModel | None" = field(default=None, repr=False)


Learn = Callable[[Iterable[str]], None]
"""Told of every secret as soon as it is known, before anything can fail that may repeat it."""


@frozen(kw_only=True)
class Parts:
    """What every turn works with. ``resolve`` gives the env of (tenant_id, data_source) and tells its secrets;
    ``tables`` names those that a data source declares.
    """

    state: State
    locks: Locks
    resolve: Callable[[str, str, Learn], Resolved]
    emit: Callable[[Event], None]
    clock: Callable[[], datetime]
    tables: Callable[[str], Collection[str]] = lambda _: ()
    settings: Settings = field(factory=Settings)

    def timeout(self, collector: Collector) -> timedelta:
        """How long one window of ``collector`` may take."""
        return self.settings.window_timeout or collector.options.window_timeout
