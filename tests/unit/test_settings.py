"""Settings and numbers that a host gives: taken in the usual forms, refused by name otherwise."""

import math
from datetime import timedelta
from typing import Any

import pytest
from attrs import asdict, fields

from tenantcollect.errors import ConfigurationError
from tenantcollect.settings import Settings

DURATIONS = ("lease_ttl", "retry_delay", "window_timeout", "grace")


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize("value", [timedelta(seconds=90), 90, 90.0])
def test_a_duration_is_a_timedelta_or_seconds(name: str, value: Any) -> None:
    """Both mean the same."""
    assert asdict(Settings(**{name: value}))[name] == timedelta(seconds=90)


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize(
    "value",
    ["60", True, b"60", math.nan, math.inf, 10**400, -1, timedelta(seconds=-1), timedelta(days=2), [60]],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_duration_is_refused_by_name(name: str, value: Any) -> None:
    """At once, in a short sentence, and not when the first window needs it."""
    with pytest.raises(ConfigurationError, match=f"^{name} must be .* seconds") as refused:
        Settings(**{name: value})
    assert set(refused.value.fields) == {name}
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("name", "least"), [("lease_ttl", 2), ("retry_delay", 0.001), ("window_timeout", 0.001), ("grace", 0)]
)
def test_the_least_of_each(name: str, least: float) -> None:
    """A lease needs time to be renewed; only a stop may be without any."""
    assert asdict(Settings(**{name: least}))[name] == timedelta(seconds=least)
    with pytest.raises(ConfigurationError, match=name):
        Settings(**{name: least - 0.0005})


@pytest.mark.parametrize("value", ["4", 2.5, True, 0, -1, 1001, None])
def test_concurrency_that_is_none_is_refused_by_name(value: Any) -> None:
    """A whole number from 1 to 1000."""
    with pytest.raises(ConfigurationError, match=r"^concurrency must be a whole number from 1 to 1000") as refused:
        Settings(concurrency=value)
    assert set(refused.value.fields) == {"concurrency"}


def test_what_was_not_given_has_its_default() -> None:
    """As the command line has it: None is an option that nobody set."""
    nothing = dict.fromkeys(field.name for field in fields(Settings))
    assert Settings.given(**nothing) == Settings()
    assert Settings.given(grace=None, concurrency=2) == Settings(concurrency=2)
