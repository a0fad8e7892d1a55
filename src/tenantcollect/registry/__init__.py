"""Which collectors are installed, and which of them can be used (floor: registry).

With ``hookspecs`` all that knows pluggy. Inside, upward: ``driving`` awaits, ``signatures`` reads a plugin's
hooks, ``plugins`` calls them through pluggy, ``results`` checks what they return; ``discovery`` finds entry
points, ``loading`` imports what they name, ``executors`` finds those that run windows, ``assembly`` makes
collectors of it, ``registry`` answers for all.
"""

from tenantcollect.registry.discovery import ALLOW_LIST, Problem
from tenantcollect.registry.executors import installed_executor
from tenantcollect.registry.registry import Registry
from tenantcollect.registry.signatures import known_names

__all__ = ["ALLOW_LIST", "Problem", "Registry", "installed_executor", "known_names"]
