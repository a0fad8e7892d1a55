"""A tenant's configuration: stored, validated, resolved for a window, shown without secrets (floor: passes)."""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import define

from tenantcollect.catalog import Catalog, ConfigValue, EditableCatalog, Order, checked_env
from tenantcollect.collectors import checked_duration
from tenantcollect.errors import ConfigurationError
from tenantcollect.keys import checked_name, checked_tenant
from tenantcollect.registry import Registry
from tenantcollect.secrets import MASK
from tenantcollect.windows import utc
from tenantcollect.worker import Learn, Resolved

__all__ = ["Configuring", "ResolveEnv", "checked_settings"]

logger = logging.getLogger("tenantcollect.configuring")

CLOCK_STEP = timedelta(minutes=5)
"""How far two clocks may be apart without anybody having made a mistake."""

ResolveEnv = Callable[[str, str, Mapping[str, str]], Mapping[str, str]]
"""``resolve_env(tenant_id, data_source, stored)`` → the env a window is run with; never stored."""


@define
class Configuring:
    """The catalog, seen through what the collectors declare."""

    catalog: Catalog
    registry: Registry
    resolve_env: ResolveEnv | None

    def write(
        self,
        tenant_id: str,
        data_source: str,
        env: Mapping[str, str | None],
        *,
        secrets: Iterable[str],
        settings: Mapping[str, Any],
        connection: Any,
    ) -> None:
        """Merge ``env`` (None removes) after validating the whole; raises :class:`ConfigurationError`."""
        tenant_id, data_source = checked_tenant(tenant_id), checked_name(data_source, "data_source")
        catalog, changes, marked = self._editable(), checked_env(env), _texts(secrets)
        known = {value.key: value for value in catalog.values(tenant_id, data_source, connection=connection)}
        merged = {key: value.value for key, value in known.items()} | changes
        whole = {key: value for key, value in merged.items() if value is not None}
        self._validate(data_source, whole)
        secret = self._secret_keys(data_source, whole) | marked | {v.key for v in known.values() if v.is_secret}
        values = [ConfigValue(key=k, value=v, is_secret=k in secret) for k, v in changes.items() if v is not None]
        kept = (known[key] for key in marked & set(known) - set(changes))
        values += [ConfigValue(key=value.key, value=value.value, is_secret=True) for value in kept]
        removed = [key for key, value in changes.items() if value is None]
        catalog.write(tenant_id, data_source, values, removed, settings=settings, connection=connection)

    def remove(self, tenant_id: str, data_source: str) -> None:
        """Forget the configuration."""
        self._editable().remove(checked_tenant(tenant_id), checked_name(data_source, "data_source"))

    def shown(self, tenant_id: str, data_source: str) -> dict[str, str]:
        """The stored env, secret values as ``***``."""
        tenant_id, data_source = checked_tenant(tenant_id), checked_name(data_source, "data_source")
        values = self._values(tenant_id, data_source)
        secret = self._secret_keys(data_source, [value.key for value in values])
        return {v.key: MASK if v.is_secret or v.key in secret else v.value for v in values}

    def resolved(self, tenant_id: str, data_source: str, learn: Learn) -> Resolved:
        """The env of one window, validated; ``learn`` is told what is secret in it."""
        stored = self._values(tenant_id, data_source)
        env = {value.key: value.value for value in stored}
        marked = {value.key for value in stored if value.is_secret}
        learn(env[key] for key in self._secret_keys(data_source, env) | marked)
        if self.resolve_env is not None:
            found = checked_env(self.resolve_env(tenant_id, data_source, dict(env)))
            env = {key: value for key, value in found.items() if value is not None}
            learn(env[key] for key in self._secret_keys(data_source, env) | (marked & set(env)))
        return Resolved(env=env, config=self.registry.validate(data_source, env))

    def _values(self, tenant_id: str, data_source: str) -> list[ConfigValue]:
        if isinstance(self.catalog, EditableCatalog):
            return self.catalog.values(tenant_id, data_source)
        env = checked_env(self.catalog.env(tenant_id, data_source))
        return [ConfigValue(key=key, value=value, is_secret=False) for key, value in env.items() if value is not None]

    def _secret_keys(self, data_source: str, env: Iterable[str]) -> set[str]:
        """Which keys are secret: as the collector declares, and every one where that is not known."""
        return self.registry.secret_keys(data_source, env) if self.registry.sound(data_source) else set(env)

    def _validate(self, data_source: str, env: Mapping[str, str]) -> None:
        """Refuse an env that its collector would refuse; what ``resolve_env`` may add later is not missed now.

        A data source that is installed but broken takes any env, so that a tenant can be connected meanwhile.
        """
        if data_source in self.registry.data_sources() and not self.registry.sound(data_source):
            logger.warning("%s is broken, so this configuration is stored without being validated", data_source)
            return
        self.registry.require(data_source)
        try:
            self.registry.validate(data_source, env)
        except ConfigurationError as error:
            if self.resolve_env is None or any(key in env for key in error.fields) or not error.fields:
                raise

    def _editable(self) -> EditableCatalog:
        if not isinstance(self.catalog, EditableCatalog):
            raise ConfigurationError("This catalog belongs to the host and cannot be written; configure it there.")
        return self.catalog


def _texts(names: Iterable[str]) -> set[str]:
    return {names} if isinstance(names, str) else set(names)


def checked_settings(
    since: datetime | None, interval: timedelta | None, order: Order | None, now: Callable[[], datetime]
) -> dict[str, Any]:
    """Those of a tenant's own choices that were given; raises :class:`ConfigurationError`."""
    settings: dict[str, Any] = {}
    if since is not None:
        settings["since"] = utc(since, "since")
        if settings["since"] > now() + CLOCK_STEP:
            raise ConfigurationError("since must not lie in the future", fields={"since": "lies in the future"})
    if interval is not None:
        try:
            settings["interval"] = checked_duration(interval, "interval", most=timedelta(days=366))
        except ValueError as error:
            raise ConfigurationError(str(error), fields={"interval": str(error)}) from None
    if order is not None:
        if order not in ("oldest_first", "newest_first"):
            raise ConfigurationError(f"order must be oldest_first or newest_first, not {ascii(order)[:40]}")
        settings["order"] = order
    return settings
