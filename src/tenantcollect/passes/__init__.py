"""One pass: a sweep over all that is due, until nothing is runnable (floor: passes; G4, G9)."""

from tenantcollect.passes.engine import Engine
from tenantcollect.passes.limits import Limits
from tenantcollect.passes.running import Passes

__all__ = ["Engine", "Limits", "Passes"]
