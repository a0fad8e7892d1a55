"""What a collector is, and what it is given (floor: contracts)."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from attrs import Attribute, field, frozen

from tenantcollect.windows import Window

if TYPE_CHECKING:
    from pydantic import BaseModel
    from sqlalchemy import MetaData

__all__ = ["DEFAULT_DURATION", "Collector", "CollectorOptions", "Context", "DataSource", "checked_duration"]

DEFAULT_DURATION = timedelta(hours=24)
LONGEST_DURATION = timedelta(days=366)


def checked_duration(value: object, what: str, *, least: timedelta = timedelta(), most: timedelta) -> timedelta:
    """``value`` if it is a timedelta within ``[least, most]``.

    Raises ValueError, naming ``what`` and the bound.
    """
    if not isinstance(value, timedelta):
        raise ValueError(f"{what} must be a datetime.timedelta, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{what} must be between {least} and {most}, not {value}")
    return value


def _between(least: timedelta, most: timedelta) -> Callable[[Any, "Attribute[Any]", Any], None]:
    def validate(_: Any, attribute: "Attribute[Any]", value: Any) -> None:
        checked_duration(value, f"options().{attribute.name}", least=least, most=most)

    return validate


def _whole_number(_: Any, attribute: "Attribute[Any]", value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise ValueError(f"options().{attribute.name} must be a whole number from 1 to 1000, not {ascii(value)[:40]}")


def _true_or_false(_: Any, attribute: "Attribute[Any]", value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"options().{attribute.name} must be True or False, not {ascii(value)[:40]}")


@frozen(kw_only=True)
class CollectorOptions:
    """How a collector wants to be run; what ``options()`` returns. All durations are timedeltas."""

    initial_range: timedelta = field(
        default=timedelta(days=90), validator=_between(timedelta(seconds=1), timedelta(days=36525))
    )
    """How far back the history starts when a key is made (ADR-009 section 5: 90 days)."""
    lookback: timedelta = field(default=timedelta(), validator=_between(timedelta(), LONGEST_DURATION))
    """How much earlier than its window ``run`` is told to start, for sources that change the recent past."""
    settle: timedelta = field(default=timedelta(), validator=_between(timedelta(), LONGEST_DURATION))
    """How long data must have rested before it is collected: the horizon is now minus this."""
    interval: timedelta = field(default=timedelta(minutes=15), validator=_between(timedelta(), LONGEST_DURATION))
    """How long to wait between collections of the newest piece; holes never wait for it."""
    window_timeout: timedelta = field(
        default=timedelta(minutes=15), validator=_between(timedelta(milliseconds=1), timedelta(days=1))
    )
    """How long one window may take before it is given up."""
    concurrency_per_tenant: int = field(default=1, validator=_whole_number)
    """How many keys of one tenant's data source may run at once."""
    snapshot: bool = field(default=False, validator=_true_or_false)
    """True = the source has no history: one window from the history start to the horizon, each interval."""


class Context(Protocol):
    """The optional sixth argument of ``run``: what goes beyond rows and dates."""

    window: Window
    """The window that is being collected; after ``checkpoint(until)`` what is left of it."""
    attempt: int
    """1 for the first try of this window, counted up by failures in a row and where it is tried again at once."""
    history_start: datetime
    """Where this key's history begins (UTC)."""
    cursor: Any
    """A JSON value of your own, kept between windows; saved only by windows that extend the newest end."""
    resume: Any
    """A JSON value of your own, saved by ``checkpoint()``, emptied by the seal: where to go on in this window."""
    logger: logging.Logger
    """A logger that names the key and masks the tenant's secrets."""

    def read(self, statement: Any) -> Sequence[Any]:
        """The rows of a SQLAlchemy select, read now by a short transaction of their own: fetch first, write last."""
        ...

    def checkpoint(self, until: datetime | None = None) -> None:
        """Make what was written durable. With ``until`` (aware): seal ``[start, until)`` and go on with the rest;
        without: commit rows and ``resume``, the window stays to be finished. The window has its ``window_timeout``
        once more, up to ten of them in all. ``until`` may end the call: what the pass has no time for is planned anew.

        Where ``until`` is the end of the window there is no rest, and nothing is sealed before ``run`` returns: what
        was written since the last checkpoint is dropped if it raises. Raises :class:`PluginError` when ``until`` is
        outside of the window, or naive.
        """
        ...

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """Say how far this window is; shown by ``status`` and the progress bar."""
        ...

    def warn(self, message: str) -> None:
        """Keep a warning with this attempt; shown by ``status`` and ``history`` (at most 20, masked and cut)."""
        ...

    def raise_if_cancelled(self) -> None:
        """Raise :class:`WindowCancelled` when the window should end now: call it inside long loops."""
        ...


@frozen(kw_only=True)
class DataSource:
    """What the collectors of one data source share: its config model, tables and the other optional hooks.

    ``package`` and ``version`` name the distribution it came from.
    """

    name: str
    package: str | None = None
    version: str | None = None
    config_model: "type[BaseModel] | None" = None
    tables: "MetaData | None" = None
    check: Callable[..., object] | None = None
    erase: Callable[..., object] | None = None


@frozen(kw_only=True)
class Collector:
    """One loaded script of a data source. ``duration`` None = one window per unbroken piece.

    ``arguments`` are those ``run`` (or a wrapper) names: what nobody names need not be made.
    ``run`` takes env, config, db, tenant_id, start_date, end_date and context by keyword, goes through the
    host's wrappers, and returns the number of records or None.
    """

    name: str
    source: DataSource
    package: str | None = None
    version: str | None = None
    provides: tuple[str, ...]
    dependencies: tuple[str, ...] = ()
    duration: timedelta | None = DEFAULT_DURATION
    options: CollectorOptions = field(factory=CollectorOptions)
    arguments: frozenset[str] = frozenset({"env", "config", "db", "tenant_id", "start_date", "end_date", "context"})
    run: Callable[..., int | None] = field(repr=False)

    @property
    def data_source(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def script(self) -> str:
        """The part of the name after the dot."""
        return self.name.partition(".")[2]
