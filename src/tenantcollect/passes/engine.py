"""The parts that passes work with."""

from collections.abc import Callable

from attrs import define, field

from tenantcollect.events import Event
from tenantcollect.keys import Key
from tenantcollect.locks import Locks
from tenantcollect.settings import Settings
from tenantcollect.state import State
from tenantcollect.survey import Survey
from tenantcollect.worker import Place

__all__ = ["Engine"]


@define(kw_only=True)
class Engine:
    """The parts a pass works with; the orchestrator wires them."""

    state: State
    locks: Locks
    survey: Survey
    place: Place
    owner: str
    settings: Settings
    emit: Callable[[Event], None]
    stale: set[Key] = field(factory=set)
    """The keys that were told to be stale, and have not caught up since."""
