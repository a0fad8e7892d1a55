"""Windows in child processes that can be killed (floor: contrib; PROTOCOL 6).

executor ──> child: one process, in a pool of its own ──> inside: what runs there
    └──────> watchdog: a process of its own, which ends children that grow too big, or whose parent is gone
"""

from tenantcollect.contrib.processes.executor import Processes

__all__ = ["Processes"]
