"""How windows are run, and the numbers that a host gives, checked where they come in (floor: settings, pure)."""

from datetime import timedelta
from typing import Any, Self

from attrs import converters, field, frozen

from tenantcollect.errors import ConfigurationError
from tenantcollect.locks import DEFAULT_TTL, LONGEST_TTL, SHORTEST_TTL
from tenantcollect.policy import FIRST_DELAY

__all__ = ["Seconds", "Settings", "duration", "whole_number"]

Seconds = timedelta | float
"""A duration as a host gives it: a timedelta, or a number of seconds."""

INSTANT = timedelta(milliseconds=1)
DAY = timedelta(days=1)
YEAR = timedelta(days=366)


def whole_number(value: object, what: str, *, least: int = 0, most: int | None = None) -> int:
    """``value`` if it is a whole number within the bounds; raises :class:`ConfigurationError`, naming ``what``."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= (value if most is None else most):
        return value
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    problem = f"must be a whole number {bounds}, not {ascii(value)[:40]}"
    raise ConfigurationError(f"{what} {problem}", fields={what: problem})


def duration(value: object, what: str, *, least: timedelta = INSTANT, most: timedelta = YEAR) -> timedelta:
    """``value``, a timedelta or a number of seconds, if it is within the bounds.

    Raises :class:`ConfigurationError`, naming ``what``.
    """
    given = value if isinstance(value, timedelta) else _seconds(value)
    if given is not None and least <= given <= most:
        return given
    bounds = f"between {least.total_seconds():g} and {most.total_seconds():.0f} seconds"
    shown = ascii(value)[:40] if given is None else f"{given.total_seconds():g}"
    problem = f"must be a timedelta or a number of seconds, {bounds}, not {shown}"
    raise ConfigurationError(f"{what} {problem}", fields={what: problem})


def _seconds(value: Any) -> timedelta | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return timedelta(seconds=value) if number else None
    except (OverflowError, ValueError):  # more than a timedelta holds, or nan
        return None


def _concurrency(value: object) -> int:
    return whole_number(value, "concurrency", least=1, most=1000)


def _lease_ttl(value: object) -> timedelta:
    return duration(value, "lease_ttl", least=SHORTEST_TTL, most=LONGEST_TTL)


def _retry_delay(value: object) -> timedelta:
    return duration(value, "retry_delay", most=DAY)


def _window_timeout(value: object) -> timedelta:
    return duration(value, "window_timeout", most=DAY)


def _grace(value: object) -> timedelta:
    return duration(value, "grace", least=timedelta(), most=DAY)


@frozen(kw_only=True)
class Settings:
    """How an orchestrator runs windows; a duration is given as a timedelta or as a number of seconds.

    Raises :class:`ConfigurationError`, whose ``fields`` name what is wrong.
    """

    concurrency: int = field(default=4, converter=_concurrency)
    """How many windows run at once."""
    lease_ttl: timedelta = field(default=DEFAULT_TTL, converter=_lease_ttl)
    """How long a claim outlives its process."""
    retry_delay: timedelta = field(default=FIRST_DELAY, converter=_retry_delay)
    """The first back-off after a failure."""
    window_timeout: timedelta | None = field(default=None, converter=converters.optional(_window_timeout))
    """The longest run of one window; None = what its collector says."""
    grace: timedelta = field(default=timedelta(seconds=30), converter=_grace)
    """How long a stop waits for open windows."""

    @classmethod
    def given(cls, **chosen: Seconds | None) -> Self:
        """With the defaults in the place of those that are None."""
        return cls(**{name: value for name, value in chosen.items() if value is not None})
