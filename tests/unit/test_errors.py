"""One tree of errors, whose docstrings are their messages; and how long a source may ask us to wait."""

import copy
import inspect
import pickle
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantcollect import errors
from tenantcollect.errors import (
    ConfigurationError,
    PluginError,
    RateLimited,
    TenantcollectError,
    TransactionBroken,
    TryLater,
    retry_at,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SHORTEST, LONGEST = timedelta(seconds=1), timedelta(days=7)
CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, TenantcollectError)]


@pytest.mark.parametrize("error", CLASSES)
def test_the_docstring_is_the_default_message(error: type[TenantcollectError]) -> None:
    """Raised without a word, each error says its own sentence, on one line; a given message stays."""
    assert str(error()) == " ".join((inspect.getdoc(error) or "").split())
    assert str(error(message="mine")) == "mine"


@pytest.mark.parametrize("error", [c for c in CLASSES if not c.__name__.startswith("_")])
def test_every_error_is_public_and_in_the_drawing(error: type[TenantcollectError]) -> None:
    """The module's docstring draws the tree; nothing is left out of it or of the public names."""
    assert error.__name__ in errors.__all__
    assert f" {error.__name__} " in (errors.__doc__ or "") or error is TenantcollectError


def test_a_collectors_own_subclass_inherits_the_sentence() -> None:
    """A subclass without a docstring speaks as its parent does."""

    class Mine(PluginError):
        pass

    assert str(Mine()) == str(PluginError())
    assert "db.rollback()" in str(TransactionBroken())


def test_a_configuration_error_names_the_fields() -> None:
    """The fields are a copy, and there also when none was given."""
    fields = {"TOKEN": "is missing"}
    error = ConfigurationError("no", fields=fields)
    fields.clear()
    assert error.fields == {"TOKEN": "is missing"}
    assert ConfigurationError().fields == {}


@pytest.mark.parametrize(
    "error", [RateLimited(30, "slow down"), TryLater(), ConfigurationError("no", fields={"a": "b"})]
)
def test_errors_can_be_copied(error: TenantcollectError) -> None:
    """One that does not unpickle breaks a whole pool of processes; what is to be done arrives."""
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert vars(twin) == vars(error)


waits = (
    st.none()
    | st.floats()
    | st.integers()
    | st.timedeltas()
    | st.datetimes(timezones=st.timezones())
    | st.text()
    | st.from_regex(r"-?\d{1,400}(\.\d+)?", fullmatch=True)
    | st.datetimes().map(lambda moment: format_datetime(moment.replace(tzinfo=UTC)))
)


@given(waits)
def test_a_wait_is_always_within_its_bounds(retry_after: object) -> None:
    """Whatever a server sends: never at once, never longer than a week, never an exception."""
    for error in (RateLimited(retry_after), TryLater(retry_after)):  # type: ignore[arg-type]
        assert NOW + SHORTEST <= error.until(NOW) <= NOW + LONGEST


@given(st.integers(1, 7 * 86_400))
def test_every_spelling_of_a_wait_means_the_same(seconds: int) -> None:
    """Seconds, text, a timedelta, an aware datetime in any zone, an HTTP date."""
    until = NOW + timedelta(seconds=seconds)
    abroad = until.astimezone(timezone(timedelta(hours=-7)))
    http = until.strftime("%a, %d %b %Y %H:%M:%S GMT")
    for spelling in (seconds, float(seconds), str(seconds), until - NOW, until, abroad, http):
        assert retry_at(spelling, NOW) == until


@pytest.mark.parametrize("unreadable", [None, "", "soon", "nan", float("nan"), b"\xff", object(), [3]])
def test_an_unreadable_wait_is_a_minute(unreadable: object) -> None:
    """A rate limit stays a rate limit, also when its header is nonsense."""
    assert RateLimited(unreadable).until(NOW) == NOW + timedelta(minutes=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (0, SHORTEST),
        (-5, SHORTEST),
        ("Thu, 01 Jan 1970 00:00:00 GMT", SHORTEST),
        ("9" * 400, LONGEST),
        (float("inf"), LONGEST),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), LONGEST),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=12))), SHORTEST),
    ],
)
def test_a_wait_out_of_bounds_is_the_nearest_one(asked: float | str | datetime, granted: timedelta) -> None:
    """A source that says 0 is not asked without a pause; one that says for ever is asked again in a week."""
    assert retry_at(asked, NOW) == NOW + granted


def test_a_naive_wait_is_refused_where_it_is_written() -> None:
    """The collector's author sees it at the line that raises, not as a wrong wait."""
    with pytest.raises(PluginError, match="without a time zone"):
        TryLater(datetime(2026, 1, 1))  # noqa: DTZ001
