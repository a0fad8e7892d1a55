"""One pass: a sweep over all that is due, until nothing is runnable (floor: passes; G4, G9)."""

from tenantcollect.passes.limits import Limits
from tenantcollect.passes.running import Passes
from tenantcollect.passes.sweep import Engine

__all__ = ["Engine", "Limits", "Passes"]
