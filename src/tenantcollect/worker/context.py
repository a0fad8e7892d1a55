"""The context a collector is given, and the words in which its failures are kept."""

import json
import logging
import os
import traceback
from collections.abc import Callable, MutableMapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import define, field

from tenantcollect.errors import ConfigurationError, PluginError, TenantcollectError
from tenantcollect.keys import Key
from tenantcollect.secrets import Masker, one_line
from tenantcollect.telling import class_name, words
from tenantcollect.windows import Window, utc
from tenantcollect.worker.turn import Turn

__all__ = [
    "MaskingLogger",
    "WindowContext",
    "checked_json",
    "checked_records",
    "error_text",
    "spoken",
    "words_of",
]

MOST_WARNINGS = 20
LONGEST_WARNING = 500
LIBRARY = str(Path(__file__).parents[1])
ASYNCIO = str(Path(os.__file__).with_name("asyncio"))
MOST_FRAMES = 32
MOST_CAUSES = 3
ABOUT_VALUES = ("22", "23")
"""SQLSTATE classes whose message repeats data of a row."""
LARGEST_JSON = 1024 * 1024
MOST_RECORDS = 2**63 - 1
"""What a column of the history can hold."""


class MaskingLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that names the key, and masks the tenant's secrets before any handler sees them (G6)."""

    def __init__(self, key: Key, masker: Masker) -> None:
        super().__init__(logging.getLogger(f"tenantcollect.collectors.{key.collector}"), {"key": str(key)})
        self._key, self._masker = key, masker

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """The message masked and cut, with the key in front; an exception becomes a text like it, as what is extra."""
        error = kwargs.pop("exc_info", None)
        if error:
            raised = error if isinstance(error, BaseException) else _current_exception()
            msg = f"{msg}\n{error_text(raised)}" if raised else msg
        text = self._masker.storable(str(msg))
        if kwargs.get("extra"):
            kwargs["extra"] = {name: self._masked(value) for name, value in kwargs["extra"].items()}
        return f"[{one_line(str(self._key))}] {text}", kwargs

    def _masked(self, value: Any) -> Any:
        """A text, masked and cut; a number stays one unless it is a secret."""
        masked = self._masker.storable(text := str(value))
        return value if isinstance(value, int | float | None) and masked == text else masked

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Merge the arguments before masking: a secret is as often in ``args`` as in the message."""
        if self.isEnabledFor(level):
            text, kwargs = self.process(_merged(msg, args), kwargs)  # type: ignore[assignment]
            self.logger.log(level, "%s", text, **{"stacklevel": 2, **kwargs})


def _merged(msg: object, args: tuple[object, ...]) -> str:
    """The message with its arguments; those that do not fit it are logging's affair, and cost no window."""
    try:
        return logging.LogRecord("", 0, "", 0, msg, args, None).getMessage()
    except Exception:  # noqa: BLE001 - somebody else's format and __str__
        return f"{msg!s:.500} (its arguments do not fit)"


def _current_exception() -> BaseException | None:
    import sys

    return sys.exc_info()[1]


def error_text(error: BaseException) -> str:
    """What is kept of an error: its class and message, where it came from, and what caused it; no locals, no row
    data. Of a database error only what names no values: class, SQLSTATE, constraint, column, first line.
    """
    causes = [f"caused by {_headline(cause)}" for cause in _causes(error)]
    frames = [] if isinstance(error, TenantcollectError) else traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
    theirs = [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames if not _inside(frame.filename)]
    return "\n".join([_headline(error), *theirs, *causes])


def spoken(error: Exception) -> Exception:
    """``error``, or of a group the first error of ours in it: tasks that run together raise nothing else, and what one
    of them says should happen is meant.
    """
    queue = [error]
    while queue:
        one = queue.pop(0)
        if isinstance(one, TenantcollectError):
            return one
        queue[:0] = one.exceptions if isinstance(one, ExceptionGroup) else ()
    return error


def _causes(error: BaseException) -> list[BaseException]:
    """What led to ``error``: the errors in its group, else its chain; the nearest three."""
    if isinstance(error, BaseExceptionGroup):
        return list(error.exceptions[:MOST_CAUSES])
    found: list[BaseException] = []
    cause = error.__cause__
    # A database error's own cause is the driver's, which is told in its headline.
    while cause is not None and cause is not getattr(error, "orig", None) and len(found) < MOST_CAUSES:
        found.append(cause)
        cause = cause.__cause__
    return found


def _inside(filename: str) -> bool:
    """Whether a frame is one of a library's between the collector and the error: nobody can mend it there."""
    ours = filename.startswith(LIBRARY) and not filename.startswith(str(Path(LIBRARY, "sources")))
    return ours or any(part in filename for part in ("/pluggy/", "/sqlalchemy/", "/psycopg/", ASYNCIO))


def _headline(error: BaseException) -> str:
    """Class and message of an error, without the values of any row."""
    driver_error = getattr(error, "orig", None) or (error if getattr(error, "sqlstate", None) else None)
    if driver_error is None:
        return f"{class_name(error)}: {words_of(error)}"
    diagnostics = getattr(driver_error, "diag", None)
    details = {
        "SQLSTATE": getattr(driver_error, "sqlstate", None) or getattr(driver_error, "sqlite_errorname", None),
        "constraint": getattr(diagnostics, "constraint_name", None),
        "table": getattr(diagnostics, "table_name", None),
        "column": getattr(diagnostics, "column_name", None),
    }
    known = ", ".join(f"{name} {value}" for name, value in details.items() if value)
    said = getattr(diagnostics, "message_primary", None)  # of what has none, the lines below repeat data
    message = one_line(said) if said else str(driver_error).split("\n", 1)[0]
    names = dict.fromkeys([class_name(error), class_name(driver_error)])
    if str(details["SQLSTATE"]).startswith(ABOUT_VALUES):
        return f"{': '.join(names)} ({known})"
    return f"{': '.join(names)}: {message}" + (f" ({known})" if known else "")


def words_of(error: BaseException) -> str:
    """The message, of whatever class: one that cannot even be written must not cost more than its window.

    Of pydantic's without the input, of which it shows a shortened form that nobody could mask.
    """
    try:
        if type(error).__module__.partition(".")[0].startswith("pydantic") and hasattr(error, "errors"):
            return _without_input(error)
        return words(error)
    except BaseException:  # noqa: BLE001 - somebody else's class, or its __str__
        return "(its message cannot be written)"


def _without_input(error: Any) -> str:
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    told = (f"{'.'.join(map(str, problem['loc'])) or '*'}: {problem['msg']}" for problem in problems)
    return f"{error.title}: {'; '.join(told)}"


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
    resume: Any = field(default=None, repr=False)
    cursor: Any = field(default=None, repr=False)
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
        try:
            moment = utc(until, "checkpoint(until)")
        except ConfigurationError as error:  # the collector's mistake, not that of any configuration
            raise PluginError(str(error)) from None
        if not self.window.start < moment <= self.window.end:
            raise PluginError(f"checkpoint({moment.isoformat()}) is not inside the window {self.window}")
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
    """``value`` as JSON keeps it; raises :class:`PluginError` if it cannot, or is over 1 MiB."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise PluginError(f"{what} must be a JSON value: {error}") from None
    if len(text) > LARGEST_JSON:
        raise PluginError(f"{what} is {len(text)} bytes as JSON; the limit is {LARGEST_JSON}")
    return json.loads(text)


def checked_records(collector: str, records: object) -> int | None:
    """What ``run`` returned, if it is None or a number of records; raises :class:`PluginError` otherwise."""
    if records is None:
        return None
    if isinstance(records, int) and not isinstance(records, bool):
        number = int.__int__(records)  # a class of the collector's own would travel, and be stored
        if 0 <= number <= MOST_RECORDS:
            return number
        what = "a negative number" if number < 0 else "a number beyond 2**63"
    else:
        what = type(records).__name__
    raise PluginError(f"run() of {collector} returned {what}; return the number of records, or nothing")
