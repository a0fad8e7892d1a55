"""What a failed response means, for the shapes of the common HTTP clients."""

from datetime import UTC, datetime, timedelta
from http.client import HTTPMessage
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from pytest_httpserver import HTTPServer

from tenantcollect import (
    AuthenticationError,
    RateLimited,
    TenantcollectError,
    TryLater,
    raise_for_response,
)

URL = "https://user:password@api.example:8443/repos/acme?token=secret#part"


class Response:
    """The shape of requests and httpx: ``status_code``, headers that were sent, the whole URL."""

    url = URL
    text = content = b"secret body"

    def __init__(self, status_code: int, headers: dict[str, str] | None = None) -> None:
        self.status_code = status_code
        self.headers = headers or {}


@pytest.mark.parametrize("status", [200, 204, 301, 304, 399])
def test_what_is_no_error_passes(status: int) -> None:
    """Redirects are the client's affair."""
    assert _passes(Response(status, {"retry-after": "3"}))


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (401, {}, AuthenticationError),
        (401, {"Retry-After": "3"}, AuthenticationError),
        (403, {}, AuthenticationError),
        (403, {"X-RateLimit-Remaining": "7"}, AuthenticationError),
        (403, {"X-RateLimit-Remaining": "0"}, RateLimited),
        (403, {"Retry-After": "3"}, RateLimited),
        (429, {}, RateLimited),
        (503, {"Retry-After": "3"}, TryLater),
        (503, {}, TenantcollectError),
        (400, {}, TenantcollectError),
        (404, {}, TenantcollectError),
        (413, {"Retry-After": "3"}, TenantcollectError),
        (500, {"Retry-After": "3"}, TenantcollectError),
    ],
)
def test_each_status_says_what_should_happen(status: int, headers: dict[str, str], error: type[Exception]) -> None:
    """Exactly this class: a plain TenantcollectError is a transient failure."""
    with pytest.raises(TenantcollectError) as raised:
        raise_for_response(Response(status, headers))
    assert type(raised.value) is error


def test_messages_hold_status_host_and_path_and_nothing_else() -> None:
    """G6: no query, no password, no header, no body."""
    for status in (401, 403, 429, 500, 503):
        with pytest.raises(TenantcollectError) as raised:
            raise_for_response(Response(status, {"Retry-After": "3", "Set-Cookie": "secret"}))
        assert str(raised.value).startswith(f"HTTP {status} from api.example/repos/acme")
        assert "secret" not in str(raised.value)
        assert "password" not in str(raised.value)


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "120"}, timedelta(seconds=120)),
        ({"Retry-After": "Sun, 01 Mar 2026 12:05:00 GMT"}, timedelta(minutes=5)),
        ({"Retry-After": "soon"}, timedelta(minutes=1)),
        ({"Retry-After": "5", "X-RateLimit-Reset": "999"}, timedelta(seconds=5)),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 90)}, timedelta(seconds=90)),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp() * 1000) + 90_000)}, timedelta(seconds=90)),
        ({"RateLimit-Reset": "30"}, timedelta(seconds=30)),
        ({"X-Rate-Limit-Reset": "30.5"}, timedelta(seconds=30.5)),
        ({"X-RateLimit-Reset": "never"}, timedelta(minutes=1)),
        ({"X-RateLimit-Reset": "inf"}, timedelta(days=7)),
        ({"X-RateLimit-Reset": "nan"}, timedelta(minutes=1)),
        ({}, timedelta(minutes=1)),
    ],
)
def test_the_wait_is_what_the_headers_say(headers: dict[str, str], wait: timedelta) -> None:
    """Retry-After first, else the reset of the limit in seconds or since 1970, else a minute."""
    with pytest.raises(RateLimited) as raised:
        raise_for_response(Response(429, headers))
    assert raised.value.until(NOW) - NOW == wait


@pytest.mark.parametrize("client", ["requests", "httpx", "httpx2"])
def test_real_clients_are_understood(httpserver: HTTPServer, client: str) -> None:
    """Their header mappings fold case, each in its own way."""
    get = pytest.importorskip(client).get
    httpserver.expect_request("/limited").respond_with_data("", status=429, headers={"RETRY-AFTER": "7"})
    httpserver.expect_request("/fine").respond_with_data("")
    assert _passes(get(httpserver.url_for("/fine")))
    _is_limited(get(httpserver.url_for("/limited?key=secret")))


def test_the_standard_library_is_understood(httpserver: HTTPServer) -> None:
    """Its responses have a ``status``; those that failed are exceptions."""
    httpserver.expect_request("/limited").respond_with_data("", status=429, headers={"RETRY-AFTER": "7"})
    httpserver.expect_request("/fine").respond_with_data("")
    with urlopen(httpserver.url_for("/fine")) as fine:
        raise_for_response(fine)
    with pytest.raises(HTTPError) as failed:
        urlopen(httpserver.url_for("/limited?key=secret"))
    with failed.value as response:
        _is_limited(response)


def _passes(response: object) -> bool:
    raise_for_response(response)
    return True


def _is_limited(response: object) -> None:
    with pytest.raises(RateLimited, match="HTTP 429 from localhost/limited: ") as raised:
        raise_for_response(response)
    assert raised.value.until(NOW) - NOW == timedelta(seconds=7)
    assert "secret" not in str(raised.value)


class StatusOnly:
    """The shape of aiohttp and urllib3: ``status``; no URL is known."""

    def __init__(self, status: object) -> None:
        self.status = status
        self.headers = HTTPMessage()
        self.headers["Retry-After"] = "9"


def test_a_response_with_status_instead_of_status_code_is_understood() -> None:
    """aiohttp, urllib3 and http.client name it so."""
    with pytest.raises(TryLater, match="HTTP 503 from the data source"):
        raise_for_response(StatusOnly(503))


class Unasked(Response):
    """httpx raises when a response that it did not fetch is asked for its URL."""

    @property
    def url(self) -> str:  # type: ignore[override]
        raise RuntimeError("the request has not been set")


def test_a_response_that_knows_no_request_is_understood() -> None:
    """The status alone says what should happen."""
    with pytest.raises(AuthenticationError, match="HTTP 401 from the data source"):
        raise_for_response(Unasked(401))


@pytest.mark.parametrize("thing", [None, "200", StatusOnly("200"), object()])
def test_what_is_no_response_is_said_to_be_none(thing: object) -> None:
    """A mistake is not taken for success."""
    with pytest.raises(TenantcollectError, match="needs a response with status and headers"):
        raise_for_response(thing)
