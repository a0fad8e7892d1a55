"""One key's turn: open, run, seal, release, and the heartbeat beside it (floor: engine).

Knows how a window is executed; which window, and whether at all, was decided above.
"""

from tenantcollect.worker.context import error_text, spoken
from tenantcollect.worker.errands import Errand, Report, place_of, run_errand
from tenantcollect.worker.heartbeat import Heartbeat
from tenantcollect.worker.parts import Learn, Parts, Resolved
from tenantcollect.worker.patience import patiently
from tenantcollect.worker.places import Place
from tenantcollect.worker.slots import DaemonThreads
from tenantcollect.worker.turn import Turn
from tenantcollect.worker.worker import Outcome, Worker

__all__ = [
    "DaemonThreads",
    "Errand",
    "Heartbeat",
    "Learn",
    "Outcome",
    "Parts",
    "Place",
    "Report",
    "Resolved",
    "Turn",
    "Worker",
    "error_text",
    "patiently",
    "place_of",
    "run_errand",
    "spoken",
]
