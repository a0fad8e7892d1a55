"""The parts that passes work with."""

from collections.abc import Callable

from attrs import define, field

from tenantcollect.events import Event
from tenantcollect.locks import Locks
from tenantcollect.passes.freshness import Freshness
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
    freshness: Freshness = field(factory=Freshness)
