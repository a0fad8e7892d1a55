"""Logs go to stderr, one safe line each, unless the host's app has set up its own (floor: cli)."""

import logging

from tenantcollect.cli.printing import note
from tenantcollect.secrets import Masker
from tenantcollect.telling import told


def logs_to_stderr() -> None:
    """Show warnings and errors of the library; an app that configured logging is left alone (G10)."""
    logger = logging.getLogger("tenantcollect")
    if all(isinstance(handler, logging.NullHandler) for handler in (*logger.handlers, *logger.root.handlers)):
        logger.addHandler(_Stderr(logging.WARNING))


class _Stderr(logging.Handler):
    """Asks for stderr anew for each line: a progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = f"{record.levelname.lower()}: {record.getMessage()}{_cause(record)}"
            note(Masker().mask(" ".join(text.split())))
        except Exception:  # noqa: BLE001 - logging's own rule: a log line never breaks what it tells of
            self.handleError(record)


def _cause(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return "" if error is None else f" ({told(error)})"
