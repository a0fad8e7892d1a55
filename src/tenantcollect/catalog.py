"""Which tenants have which data sources, and with which env (floor: contracts).

A host with tables of its own implements :class:`Catalog`; ours is :class:`EditableCatalog`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from shlex import quote
from typing import Any, Literal, Protocol, runtime_checkable

from attrs import field, frozen

from tenantcollect.errors import CipherKeyMissing, ConfigurationError, SecretUnreadable, TenantcollectError
from tenantcollect.keys import checked_name, checked_tenant
from tenantcollect.secrets import Secret
from tenantcollect.windows import utc

__all__ = [
    "GRAVITY",
    "Catalog",
    "ConfigValue",
    "EditableCatalog",
    "EncryptingCatalog",
    "Order",
    "Rotation",
    "Source",
    "checked_env",
    "checked_settings",
    "unreadable",
]

Order = Literal["oldest_first", "newest_first"]
LARGEST_ENV = 128 * 1024
LONGEST_INTERVAL = timedelta(days=366)
CLOCK_STEP = timedelta(minutes=5)
"""How far two clocks may be apart without anybody having made a mistake."""
GRAVITY: tuple[type[TenantcollectError], ...] = (SecretUnreadable, CipherKeyMissing, TenantcollectError)
"""What a value that cannot be decrypted makes of a window, the gravest first."""


def _data_source(value: object) -> str:
    return checked_name(value, "data_source")


@frozen(kw_only=True)
class Source:
    """A data source that a tenant has configured.

    ``revision`` changes whenever its configuration does. ``interval`` (None = the collector's own), ``since``
    (UTC; None = now minus the collector's initial_range) and ``order`` are the tenant's own choices.
    """

    tenant_id: str = field(converter=checked_tenant)
    data_source: str = field(converter=_data_source)
    revision: str = ""
    interval: timedelta | None = None
    since: datetime | None = None
    order: Order = "oldest_first"


@frozen(kw_only=True)
class ConfigValue:
    """One stored config value.

    ``problem`` says why a secret cannot be decrypted; ``value`` is then empty, and a window that needs it ends with
    an error of the class ``failure``: :class:`SecretUnreadable`, :class:`CipherKeyMissing`, or
    :class:`TenantcollectError` for what is tried again.
    """

    key: str
    value: Secret = field(converter=Secret)
    is_secret: bool = True
    problem: str | None = None
    failure: type[TenantcollectError] = SecretUnreadable


@frozen(kw_only=True)
class Rotation:
    """How the secrets of a tenant's data source stood before they were encrypted with the newest cipher key.

    ``plain`` and ``older`` count those that were not encrypted, or with an older key; ``newest`` those that are as
    they should be; ``unreadable`` says of each other why it cannot be decrypted, or not be encrypted anew: these stay
    as they are.
    """

    tenant_id: str
    data_source: str
    plain: int = 0
    older: int = 0
    newest: int = 0
    unreadable: Mapping[str, str] = field(factory=dict)
    dry_run: bool = False


class Catalog(Protocol):
    """1. ``sources`` may stream any number of tenants. 2. ``env`` is exactly that of its own tenant and data
    source. 3. ``version`` is unchanged only while nothing else changed; it is asked once per pass.
    """

    def sources(self, tenant_ids: Collection[str] | None = None) -> Iterable[Source]:
        """Every configured data source, of all tenants or of ``tenant_ids``."""
        ...

    def env(self, tenant_id: str, data_source: str) -> Mapping[str, str | Secret]:
        """The stored config values of one tenant's data source; empty when there are none."""
        ...

    def version(self) -> object:
        """A value that differs from an earlier one whenever a source was added, changed or removed."""
        ...


@runtime_checkable
class EditableCatalog(Catalog, Protocol):
    """A catalog that ``configure`` and ``disconnect`` may write. ``connection`` joins the host's transaction, or one
    of our own.
    """

    def together(self) -> AbstractContextManager[Any]:
        """A transaction for several changes, each of which is given as ``connection`` what this yields."""
        ...

    def values(
        self, tenant_id: str, data_source: str, *, connection: Any = None, without: Collection[str] = ()
    ) -> list[ConfigValue]:
        """The stored values with their secret marks, those of the host's transaction too, if it is given; one that
        cannot be decrypted comes with its ``problem``. Those of the keys ``without`` are not decrypted, and empty.
        """
        ...

    def write(
        self,
        tenant_id: str,
        data_source: str,
        values: Collection[ConfigValue],
        removed: Collection[str] = (),
        *,
        marked: Collection[str] = (),
        settings: Mapping[str, Any],
        connection: Any = None,
    ) -> None:
        """Merge ``values``, drop ``removed``, mark as secret what then stands at the keys ``marked``, set those of
        ``since``, ``interval``, ``order`` in ``settings``; all in one transaction, which also changes the revision.
        """
        ...

    def remove(self, tenant_id: str, data_source: str) -> None:
        """Forget the source and its values; state and history stay."""
        ...


@runtime_checkable
class EncryptingCatalog(EditableCatalog, Protocol):
    """A catalog whose secrets can be encrypted at rest."""

    def rotate(
        self, tenant_id: str, data_source: str, secret: Collection[str] = (), *, dry_run: bool = False
    ) -> Rotation:
        """Encrypt with the newest cipher key what is not: the values marked secret, and those of the keys
        ``secret``, which are marked now. In one transaction, which changes neither a value nor the revision; what
        the cipher cannot decrypt or encrypt stays as it is. Raises :class:`ConfigurationError` when there is no
        cipher, unless ``dry_run``, and for one that cannot be used.
        """
        ...


def unreadable(tenant_id: str, data_source: str, values: Iterable[ConfigValue]) -> TenantcollectError | None:
    """What a window that needs all of ``values`` ends with, and what to do; None if each could be read.

    The gravest is told first: what nobody can open, what this process lacks the cipher key of, what is tried again.
    """
    failed = sorted((value for value in values if value.problem), key=lambda value: GRAVITY.index(value.failure))
    if not failed:
        return None
    kind, name = failed[0].failure, f"{quote(tenant_id)} {data_source}"
    told = "; ".join(f"{value.key} cannot be decrypted: {value.problem}" for value in failed)
    if not issubclass(kind, SecretUnreadable):
        return kind(f"{told}. It is tried again")
    first = "Give this process that cipher key" if kind is CipherKeyMissing else "Restore what stood there"
    cure = (
        f"{first}, then: tenantcollect resume {name}; or set it anew: tenantcollect config set {name} {failed[0].key}=-"
    )
    return kind(f"{told}. {cure}", fields={value.key: value.problem or "" for value in failed})


def checked_settings(
    since: datetime | None, interval: timedelta | None, order: Order | None, now: Callable[[], datetime]
) -> dict[str, Any]:
    """Those of a tenant's own choices for a data source that were given; raises :class:`ConfigurationError`."""
    settings: dict[str, Any] = {}
    if since is not None:
        settings["since"] = utc(since, "since")
        if settings["since"] > now() + CLOCK_STEP:
            raise ConfigurationError("since must not lie in the future", fields={"since": "lies in the future"})
    if interval is not None:
        if problem := _interval_problem(interval):
            raise ConfigurationError(f"interval {problem}", fields={"interval": problem})
        settings["interval"] = interval
    if order is not None:
        if order not in ("oldest_first", "newest_first"):
            raise ConfigurationError(f"order must be oldest_first or newest_first, not {ascii(order)[:40]}")
        settings["order"] = order
    return settings


def _interval_problem(interval: object) -> str | None:
    if not isinstance(interval, timedelta):
        return f"must be a datetime.timedelta, not {type(interval).__name__}"
    if not timedelta() <= interval <= LONGEST_INTERVAL:
        return f"must be between {timedelta()} and {LONGEST_INTERVAL}, not {interval}"
    return None


def checked_env(env: Mapping[Any, Any]) -> dict[str, str | None]:
    """``env`` if it can be stored: text keys without ``=`` or NUL, text values (None removes), at most 128 KiB.

    A :class:`~tenantcollect.secrets.Secret` is a text, too; it is revealed. Raises :class:`ConfigurationError`,
    whose ``fields`` name each wrong key, never a value.
    """
    if not isinstance(env, Mapping):
        raise ConfigurationError(f"The env must be a mapping of text to text, not {type(env).__name__}")
    env = {key: value.reveal() if isinstance(value, Secret) else value for key, value in env.items()}
    wrong = {_shown(key): problem for key, value in env.items() if (problem := _env_problem(key, value))}
    size = sum(len(str(k)) + len(str(v or "").encode("utf-8", "replace")) for k, v in env.items())
    if size > LARGEST_ENV:
        wrong["env"] = f"is {size} bytes large; the limit is {LARGEST_ENV}"
    if wrong:
        text = "; ".join(f"{key} {problem}" for key, problem in wrong.items())
        raise ConfigurationError(f"The env is not valid: {text}", fields=wrong)
    return {str(key): None if value is None else str(value) for key, value in env.items()}


def _shown(key: object) -> str:
    return key if isinstance(key, str) and key.isprintable() else ascii(key)[:80]


def _env_problem(key: object, value: object) -> str | None:
    if not isinstance(key, str) or not key or len(key) > 200:
        return "must be a text of 1 to 200 characters"
    if any(c in key for c in "=\0") or not key.isprintable():
        return "must not hold '=', NUL or control characters"
    if value is not None and not isinstance(value, str):
        return f"must have a text as value, not {type(value).__name__}"
    if value is not None and ("\0" in value or (not value.isascii() and _has_surrogate(value))):
        return "must not hold NUL or surrogates in its value"
    return None


def _has_surrogate(value: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in value)
