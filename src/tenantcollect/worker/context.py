"""The context a collector is given, and the words in which its failures are kept."""

import json
import logging
import traceback
from collections.abc import Callable, MutableMapping, Sequence
from datetime import datetime
from typing import Any

from attrs import define, field

from tenantcollect.errors import ConfigurationError, TenantcollectError
from tenantcollect.keys import Key
from tenantcollect.secrets import Masker, one_line
from tenantcollect.windows import Window, utc
from tenantcollect.worker.turn import Turn

__all__ = ["MaskingLogger", "WindowContext", "error_text"]

MOST_WARNINGS = 20
LONGEST_WARNING = 500
MOST_FRAMES = 32
LARGEST_JSON = 1024 * 1024


class MaskingLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that names the key, and masks the tenant's secrets before any handler sees them (G6)."""

    def __init__(self, key: Key, masker: Masker) -> None:
        super().__init__(logging.getLogger(f"tenantcollect.collectors.{key.collector}"), {"key": str(key)})
        self._key, self._masker = key, masker

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """The message masked, with the key in front; an exception becomes masked text."""
        error = kwargs.pop("exc_info", None)
        if error:
            raised = error if isinstance(error, BaseException) else _current_exception()
            msg = f"{msg}\n{error_text(raised)}" if raised else msg
        text = self._masker.mask(str(msg))
        return f"[{one_line(str(self._key))}] {text}", kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Merge the arguments before masking: a secret is as often in ``args`` as in the message."""
        if self.isEnabledFor(level):
            text, kwargs = self.process(str(msg) % args if args else msg, kwargs)  # type: ignore[assignment]
            self.logger.log(level, "%s", text, **{"stacklevel": 2, **kwargs})


def _current_exception() -> BaseException | None:
    import sys

    return sys.exc_info()[1]


def error_text(error: BaseException) -> str:
    """What is kept of an error: its class and message, and where it came from; no locals, no row data.

    Of a database error only what names no values: class, SQLSTATE, constraint, column, first line.
    """
    if isinstance(error, TenantcollectError):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
    ours = [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames if not _internal(frame.filename)]
    return "\n".join([f"{type(error).__name__}: {_message(error)}", *ours])


def _internal(filename: str) -> bool:
    return "/tenantcollect/worker/" in filename or "/pluggy/" in filename or "/tenantcollect/registry" in filename


def _message(error: BaseException) -> str:
    driver_error = getattr(error, "orig", None)
    if driver_error is None:
        return str(error)
    diagnostics = getattr(driver_error, "diag", None)
    details = {
        "SQLSTATE": getattr(driver_error, "sqlstate", None) or getattr(driver_error, "sqlite_errorname", None),
        "constraint": getattr(diagnostics, "constraint_name", None),
        "table": getattr(diagnostics, "table_name", None),
        "column": getattr(diagnostics, "column_name", None),
    }
    known = ", ".join(f"{name} {value}" for name, value in details.items() if value)
    first_line = str(getattr(diagnostics, "message_primary", None) or driver_error).split("\n", 1)[0]
    return f"{type(driver_error).__name__}: {first_line} ({known})" if known else first_line


@define(eq=False)
class WindowContext:
    """The :class:`tenantcollect.collectors.Context` of one call of ``run``."""

    _turn: Turn
    _masker: Masker
    _seal_until: Callable[[datetime], Window]
    _keep_resume: Callable[[Any], None]
    logger: MaskingLogger
    window: Window
    attempt: int
    history_start: datetime
    resume: Any = None
    cursor: Any = None
    warnings: list[str] = field(factory=list)

    def read(self, statement: Any) -> Sequence[Any]:
        """See :meth:`tenantcollect.collectors.Context.read`."""
        self.raise_if_cancelled()
        transaction = self._turn.transaction
        if transaction is None:
            raise TenantcollectError("The window has ended; context.read() cannot be used any more.")
        return transaction.read(statement)

    def checkpoint(self, until: datetime | None = None) -> None:
        """See :meth:`tenantcollect.collectors.Context.checkpoint`."""
        self.raise_if_cancelled()
        if until is None:
            self._keep_resume(checked_json(self.resume, "context.resume"))
            return
        moment = utc(until, "checkpoint(until)")
        if not self.window.start < moment <= self.window.end:
            raise ConfigurationError(f"checkpoint({moment.isoformat()}) is not inside the window {self.window}")
        if moment < self.window.end:
            self.window = self._seal_until(moment)

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """See :meth:`tenantcollect.collectors.Context.progress`."""
        of = f"{done}/{total}" if total is not None else str(done)
        self._turn.progress = self._masker.storable(f"{of} {message}".strip())[:LONGEST_WARNING]

    def warn(self, message: str) -> None:
        """See :meth:`tenantcollect.collectors.Context.warn`."""
        if len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(self._masker.storable(str(message))[:LONGEST_WARNING])

    def raise_if_cancelled(self) -> None:
        """See :meth:`tenantcollect.collectors.Context.raise_if_cancelled`."""
        if self._turn.cancelled is not None:
            raise self._turn.cancelled


def checked_json(value: Any, what: str) -> Any:
    """``value`` as JSON keeps it; raises :class:`ConfigurationError` if it cannot, or is over 1 MiB."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{what} must be a JSON value: {error}") from None
    if len(text) > LARGEST_JSON:
        raise ConfigurationError(f"{what} is {len(text)} bytes as JSON; the limit is {LARGEST_JSON}")
    return json.loads(text)
