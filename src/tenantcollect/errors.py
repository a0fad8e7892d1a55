"""Every exception tenantcollect raises or understands (floor: ground).

A collector raises the first group to say what should happen next; the rest tell the host what to do::

    TenantcollectError
    ├── ConfigurationError          the tenant's configuration must change       (a hold until it does)
    │   ├── DependencyError         a resource is missing, ambiguous or cyclic   (that tenant only)
    │   ├── SecretUnreadable        a stored secret cannot be decrypted          (a hold, tried hourly)
    │   │   └── CipherKeyMissing    this process lacks the cipher key            (that key backs off, an hour at most)
    │   ├── ResolvedEnvInvalid      what resolve_env returned is not valid       (a hold, tried hourly)
    │   └── PluginError             a collector cannot be loaded                 (that collector only)
    ├── AuthenticationError         the credentials were refused                 (a hold)
    ├── RateLimited                 the whole source of this tenant waits        (not a failure)
    ├── TryLater                    this key waits                               (not a failure)
    ├── WindowTooLarge              the window is halved and planned again
    ├── WindowCancelled             the window must end now: the pass stops, or its lease was lost
    │   └── WindowTimedOut          the window did not end within its timeout (a failure)
    ├── ChildDied                   the process that ran the window is gone      (a failure)
    ├── TransactionBroken           the collector ended the framework's transaction
    │   └── IsolationRefused        it reached beyond its tenant, its role or its window
    ├── LeaseLost                   another holder owns the key now              (never a failure)
    ├── CoverageInvalid             stored coverage cannot be trusted            (that key only)
    └── StorageError                the state cannot be reached or used
        ├── DatabaseUnavailable     connect again later                          (the pass stops claiming)
        ├── DatabaseReadOnly        connect to one that may be written           (the pass stops)
        ├── SchemaNotCurrent        run the named command                        (the pass stops)
        ├── TransactionConflict     certainly not applied; retry the window
        ├── CatalogFailed           the host's own catalog cannot be read        (the pass stops claiming)
        ├── Overloaded              back off; not the collector's failure
        └── OutcomeUnknown          the reply of a COMMIT was lost; ask the database

The docstring of an exception is its default message.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from inspect import getdoc

__all__ = [
    "AuthenticationError",
    "CatalogFailed",
    "ChildDied",
    "CipherKeyMissing",
    "ConfigurationError",
    "CoverageInvalid",
    "DatabaseReadOnly",
    "DatabaseUnavailable",
    "DependencyError",
    "IsolationRefused",
    "LeaseLost",
    "OutcomeUnknown",
    "Overloaded",
    "PluginError",
    "RateLimited",
    "ResolvedEnvInvalid",
    "RetryAfter",
    "SchemaNotCurrent",
    "SecretUnreadable",
    "StorageError",
    "TenantcollectError",
    "TransactionBroken",
    "TransactionConflict",
    "TryLater",
    "WindowCancelled",
    "WindowTimedOut",
    "WindowTooLarge",
]

RetryAfter = float | timedelta | datetime | str | None
"""Seconds, a timedelta, an aware datetime, or the text of an HTTP ``Retry-After`` header."""

DEFAULT_RETRY_AFTER = timedelta(seconds=60)
SHORTEST_RETRY_AFTER = timedelta(seconds=1)
LONGEST_RETRY_AFTER = timedelta(days=7)


class TenantcollectError(Exception):
    """tenantcollect could not go on."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message if message is not None else " ".join((getdoc(type(self)) or "").split()))


class ConfigurationError(TenantcollectError):
    """The configuration is not valid; correct it and run again."""

    fields: dict[str, str]
    """Each wrong env key with its problem, never its value."""

    def __init__(self, message: str | None = None, *, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.fields = dict(fields or {})


class DependencyError(ConfigurationError):
    """A dependency of a collector cannot be resolved for this tenant."""


class SecretUnreadable(ConfigurationError):
    """A stored secret cannot be decrypted; give its cipher key, or set the value anew."""


class CipherKeyMissing(SecretUnreadable):
    """This process was not given the cipher key of a stored secret; give it, or set the value anew."""


class ResolvedEnvInvalid(ConfigurationError):
    """What resolve_env returned is not valid; correct it there."""


class PluginError(ConfigurationError):
    """A collector could not be loaded; the message names the package, the place and the cure."""


class AuthenticationError(TenantcollectError):
    """The data source refused the credentials; set new ones, or resume the key."""


class _Retry(TenantcollectError):
    """Something to be tried again at a known time."""

    def __init__(self, message: str | None = None, *, retry_after: RetryAfter = None) -> None:
        super().__init__(message)
        _refuse_naive(retry_after)
        self.retry_after = retry_after

    def until(self, now: datetime) -> datetime:
        """The instant (UTC) from which to try again, one second to seven days after ``now``."""
        return retry_at(self.retry_after, now)


class RateLimited(_Retry):
    """The data source limits this tenant's rate; all its collectors of this source wait."""

    def __init__(self, retry_after: RetryAfter = None, message: str | None = None) -> None:
        super().__init__(message, retry_after=retry_after)


class TryLater(_Retry):
    """This collector asked to be run later."""

    def __init__(self, retry_after: RetryAfter = None, message: str | None = None) -> None:
        super().__init__(message, retry_after=retry_after)


class WindowTooLarge(TenantcollectError):
    """The window holds more than can be collected at once; it is halved and planned again."""


class WindowCancelled(TenantcollectError):
    """This window must end now: its deadline passed, the pass is stopping, or its lease was lost."""


class WindowTimedOut(WindowCancelled):
    """The window did not end within its timeout."""


class ChildDied(TenantcollectError):
    """The process that ran this window ended before the window did; what was not durable yet is collected again."""

    begun = True
    """False = it ended before it could begin any window."""


class TransactionBroken(TenantcollectError):
    """The collector ended the framework's transaction; nothing of this window was kept.

    Do not call db.rollback(), db.close() or send COMMIT or ROLLBACK: return to keep the window, raise to
    drop it, and use db.begin_nested() to undo a part.
    """


class IsolationRefused(TransactionBroken):
    """The collector reached beyond its tenant, its role or its window; nothing of this window was kept.

    The tenant and the role are set by the framework; use SET LOCAL for any other setting. What the database
    refused is not granted to the collector's role, or is another tenant's row.
    """


class LeaseLost(TenantcollectError):
    """Another holder owns this key now; nothing of this window was kept, the new holder collects it."""


class CoverageInvalid(TenantcollectError):
    """The stored coverage of this key cannot be trusted; replay the key to rebuild it."""


class StorageError(TenantcollectError):
    """The state cannot be used."""


class DatabaseUnavailable(StorageError):
    """The database cannot be reached; nothing was lost, run again when it is back."""


class DatabaseReadOnly(StorageError):
    """The database may only be read; connect to the primary server, or make the file writable."""


class SchemaNotCurrent(StorageError):
    """The tables are missing or of another version; run: tenantcollect db upgrade."""


class TransactionConflict(StorageError):
    """The database refused the transaction because of a conflict; it was certainly not applied."""


class CatalogFailed(StorageError):
    """The host's catalog cannot be read; nothing was lost, repair it and run again."""


class Overloaded(StorageError):
    """The database is overloaded; nothing was lost, the window is tried again later."""


class OutcomeUnknown(StorageError):
    """The connection was lost while a commit was in flight; only the database knows its outcome."""


def retry_at(retry_after: RetryAfter, now: datetime) -> datetime:
    """The instant ``retry_after`` names, one second to seven days after ``now``; unreadable means one minute.

    Never at once, or a source that answers ``Retry-After: 0`` would be asked without a pause. Raises
    :class:`PluginError` for a naive datetime: a time without a zone is refused everywhere.
    """
    _refuse_naive(retry_after)
    return now + min(max(_delay(retry_after, now), SHORTEST_RETRY_AFTER), LONGEST_RETRY_AFTER)


def _refuse_naive(retry_after: RetryAfter) -> None:
    if isinstance(retry_after, datetime) and retry_after.utcoffset() is None:
        raise PluginError("retry_after is a datetime without a time zone; use an aware one, or seconds")


def _delay(retry_after: RetryAfter, now: datetime) -> timedelta:
    if isinstance(retry_after, datetime):
        return retry_after - now
    if isinstance(retry_after, timedelta):
        return retry_after
    try:
        return timedelta(seconds=float(retry_after))  # type: ignore[arg-type]
    except OverflowError:
        return LONGEST_RETRY_AFTER
    except (TypeError, ValueError):
        return _http_date(str(retry_after), now)


def _http_date(text: str, now: datetime) -> timedelta:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return DEFAULT_RETRY_AFTER
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
