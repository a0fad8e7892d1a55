"""An HTTP response as the error that says what should happen next (floor: contracts).

Knows httpx, requests, aiohttp and urllib3 by the shape of their responses and imports none of them.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from tenantcollect.errors import AuthenticationError, RateLimited, RetryAfter, TenantcollectError, TryLater
from tenantcollect.secrets import one_line

__all__ = ["raise_for_response"]

REMAINING = ("x-ratelimit-remaining", "ratelimit-remaining", "x-rate-limit-remaining")
RESET = ("x-ratelimit-reset", "ratelimit-reset", "x-rate-limit-reset")
EPOCH_SECONDS = 1e9
"""A reset above this is an instant since 1970, not a number of seconds to wait."""
EPOCH_MILLISECONDS = 1e11
LONGEST_PATH = 200


def raise_for_response(response: Any) -> None:
    """Raise what a failed HTTP response means; return for a status below 400.

    401, and 403 without a rate limit, raise :class:`AuthenticationError`; 429, and 403 with one,
    :class:`RateLimited`; 503 with ``Retry-After`` :class:`TryLater`; every other status from 400 on a plain
    :class:`TenantcollectError`, which is tried again. Messages hold the status, host and path, and never a
    query, header or body (G6).
    """
    status = _status(response)
    if status < 400:
        return
    headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
    limited = "retry-after" in headers or _first(headers, REMAINING) in ("0", "0.0")
    where = f"HTTP {status} from {_where(response)}"
    if status == 429 or (status == 403 and limited):
        raise RateLimited(_retry_after(headers), f"{where}: the rate limit is reached")
    if status in (401, 403):
        raise AuthenticationError(f"{where}: the credentials were refused; set new ones, or resume the key")
    if status == 503 and "retry-after" in headers:
        raise TryLater(headers["retry-after"], f"{where}: the service asks to come back later")
    raise TenantcollectError(where)


def _status(response: Any) -> int:
    for name in ("status_code", "status"):
        status = getattr(response, name, None)
        if isinstance(status, int):
            return int(status)
    kind = type(response).__name__
    raise TenantcollectError(f"raise_for_response() needs a response with status and headers, not {kind}")


def _retry_after(headers: Mapping[str, str]) -> RetryAfter:
    """``Retry-After`` as it stands, else when the limit is reset, else None: the usual minute."""
    if "retry-after" in headers:
        return headers["retry-after"]
    reset = _first(headers, RESET)
    try:
        number = float(reset) if reset else 0.0
    except ValueError:
        return reset
    if number > EPOCH_SECONDS:
        seconds = number / 1000 if number > EPOCH_MILLISECONDS else number
        return datetime.fromtimestamp(min(seconds, EPOCH_MILLISECONDS), UTC)
    return number or None


def _first(headers: Mapping[str, str], names: Iterable[str]) -> str | None:
    return next((headers[name].strip() for name in names if name in headers), None)


def _where(response: Any) -> str:
    try:
        url = urlsplit(str(response.url))
        host = url.hostname or ""
    except Exception:  # noqa: BLE001 - httpx raises for a response that knows no request
        return "the data source"
    return one_line(f"{host}{url.path}")[:LONGEST_PATH] or "the data source"
