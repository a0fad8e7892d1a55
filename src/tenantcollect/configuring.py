"""A tenant's configuration: stored, validated, resolved for a window, shown without secrets (floor: passes)."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define

from tenantcollect.catalog import (
    Catalog,
    ConfigValue,
    EditableCatalog,
    EncryptingCatalog,
    Rotation,
    checked_env,
    unreadable,
)
from tenantcollect.configuration import WHOLE
from tenantcollect.errors import (
    ConfigurationError,
    PluginError,
    ResolvedEnvInvalid,
    TenantcollectError,
    WindowCancelled,
)
from tenantcollect.keys import Selection, checked_name, checked_tenant
from tenantcollect.registry import Registry, known_names
from tenantcollect.secrets import MASK, Secret, discreetly
from tenantcollect.worker import Learn, Resolved

__all__ = ["Configuring", "ResolveEnv"]

logger = logging.getLogger("tenantcollect.configuring")

ResolveEnv = Callable[[str, str, Mapping[str, str]], Mapping[str, str | Secret]]
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
        env: Mapping[str, str | Secret | None],
        *,
        secrets: Iterable[str],
        settings: Mapping[str, Any],
        connection: Any,
        dry_run: bool = False,
    ) -> None:
        """Merge ``env`` (None removes) after validating the whole; raises :class:`ConfigurationError`.

        A stored value that cannot be decrypted stays as it is, unless it is set anew or removed.
        """
        tenant_id, data_source = checked_tenant(tenant_id), checked_name(data_source, "data_source")
        catalog, changes = self._editable(), checked_env(env)
        marked = _texts(secrets) | _marked(env)
        stored = catalog.values(tenant_id, data_source, connection=connection, without=set(changes))
        unread = {value.key for value in stored if value.problem}
        merged = {**_revealed(stored), **changes}
        whole = {key: value for key, value in merged.items() if value is not None}
        secret = marked | {value.key for value in stored if value.is_secret}
        self._validate(data_source, whole, secret, unread)
        self._require_keys(data_source, marked, {*whole, *changes, *unread})
        if dry_run:
            return
        secret |= self._secret_keys(data_source, whole)
        values = [ConfigValue(key=k, value=v, is_secret=k in secret) for k, v in changes.items() if v is not None]
        removed = [key for key, value in changes.items() if value is None]
        kept = (marked & {value.key for value in stored}) - set(changes)
        catalog.write(tenant_id, data_source, values, removed, marked=kept, settings=settings, connection=connection)

    def write_all(self, envs: Mapping[tuple[str, str], Mapping[str, str | Secret | None]]) -> None:
        """Merge each env into its own (tenant_id, data_source), all of them or none; raises as :meth:`write` does."""
        with self._editable().together() as connection:
            for tenant_id, data_source in sorted(envs):
                env = envs[tenant_id, data_source]
                self.write(tenant_id, data_source, env, secrets=(), settings={}, connection=connection)

    def remove(self, tenant_id: str, data_source: str) -> None:
        """Forget the configuration."""
        self._editable().remove(checked_tenant(tenant_id), checked_name(data_source, "data_source"))

    def shown(self, tenant_id: str, data_source: str, unreadable: str) -> dict[str, str]:
        """The stored env, secret values as ``***``, and those that cannot be decrypted as ``unreadable``."""
        tenant_id, data_source = checked_tenant(tenant_id), checked_name(data_source, "data_source")
        values = self._values(tenant_id, data_source)
        secret = self._secret_keys(data_source, [value.key for value in values])
        shown = {v.key: MASK if v.is_secret or v.key in secret else v.value.reveal() for v in values}
        return shown | {value.key: unreadable for value in values if value.problem}

    def resolved(self, tenant_id: str, data_source: str, learn: Learn) -> Resolved:
        """The env of one window, validated; ``learn`` is told what is secret in it.

        Raises :class:`WindowCancelled` for a data source that is not configured any more.
        """
        stored = self._values(tenant_id, data_source)
        env = _revealed(stored)
        marked = {value.key for value in stored if value.is_secret}
        learn(env[key] for key in (self._secret_keys(data_source, env) | marked) & set(env))
        self._require_source(tenant_id, data_source, stored)
        if (resolve := self.resolve_env) is None:
            return Resolved(env=env, config=self.registry.validate(data_source, env, marked))
        found = discreetly("resolve_env", lambda: _read(resolve(tenant_id, data_source, dict(env))))
        if not isinstance(found, dict):
            raise TenantcollectError(f"resolve_env returned {type(found).__name__}, and not a mapping of text to text")
        marked |= _marked(found)
        try:
            env = {key: value for key, value in checked_env(found).items() if value is not None}
            learn(env[key] for key in (self._secret_keys(data_source, env) | marked) & set(env))
            return Resolved(env=env, config=self.registry.validate(data_source, env, marked))
        except PluginError:
            raise
        except ConfigurationError as error:
            named = {WHOLE, "env", *(value.key for value in stored), *self.registry.declared_keys(data_source)}
            raise _resolved_wrongly(error, named) from None

    def rotated(self, selection: Selection, *, dry_run: bool) -> Iterator[Rotation]:
        """Encrypt the selected secrets with the newest cipher key, source by source."""
        catalog = self._editable()
        if not isinstance(catalog, EncryptingCatalog):
            told = "This catalog does not encrypt its secrets; rotate their keys where it keeps them."
            raise ConfigurationError(told, fields={"catalog": "does not encrypt its secrets"})
        for source in catalog.sources(selection.tenant_ids):
            if selection.data_sources is None or source.data_source in selection.data_sources:
                keys = [value.key for value in catalog.values(source.tenant_id, source.data_source)]
                sound = self.registry.sound(source.data_source)
                secret = self.registry.secret_keys(source.data_source, keys) if sound else ()
                yield catalog.rotate(source.tenant_id, source.data_source, secret, dry_run=dry_run)

    def _require_source(self, tenant_id: str, data_source: str, stored: Sequence[ConfigValue]) -> None:
        """Refuse a source that was disconnected, or whose secrets cannot be decrypted."""
        if not stored and all(s.data_source != data_source for s in self.catalog.sources([tenant_id])):
            raise WindowCancelled(f"{data_source} is not configured any more.")
        if error := unreadable(tenant_id, data_source, stored):
            raise error

    def _values(self, tenant_id: str, data_source: str) -> list[ConfigValue]:
        if isinstance(self.catalog, EditableCatalog):
            return self.catalog.values(tenant_id, data_source)
        found = discreetly("env() of the catalog", lambda: _read(self.catalog.env(tenant_id, data_source)))
        marked, env = _marked(found), checked_env(found)
        return [ConfigValue(key=k, value=v, is_secret=k in marked) for k, v in env.items() if v is not None]

    def _secret_keys(self, data_source: str, env: Iterable[str]) -> set[str]:
        """Which keys are secret: as the collector declares, and every one where that is not known."""
        return self.registry.secret_keys(data_source, env) if self.registry.sound(data_source) else set(env)

    def _validate(
        self, data_source: str, env: Mapping[str, str], secrets: Collection[str], unread: Collection[str]
    ) -> None:
        """Refuse an env that its collector would refuse; what ``resolve_env`` may add later is not missed now, nor
        what cannot be read (``unread``).

        A data source that is installed but broken takes any env, so that a tenant can be connected meanwhile.
        """
        if data_source in self.registry.data_sources() and not self.registry.sound(data_source):
            logger.warning("%s is broken, so this configuration is stored without being validated", data_source)
            return
        self.registry.require(data_source)
        try:
            self.registry.validate(data_source, env, secrets)
        except ConfigurationError as error:
            later = {key for key in error.fields if self.resolve_env is not None and key not in env}
            unknowable = {*unread, WHOLE} if unread else set()
            if not error.fields or set(error.fields) - later - unknowable:
                raise

    def _require_keys(self, data_source: str, marked: Iterable[str], keys: Collection[str]) -> None:
        """Refuse a mark on what is no key: a misspelt one would leave its value shown. It is not repeated, as it may be
        the value itself.
        """
        known = {*keys, *(self.registry.declared_keys(data_source) if self.registry.sound(data_source) else ())}
        wrong = sorted(str(name) for name in marked if name not in known)
        if wrong:
            problem = f"names no key of {data_source}{known_names(wrong[0], known)}"
            raise ConfigurationError(f"secrets {problem}", fields={"secrets": problem})

    def _editable(self) -> EditableCatalog:
        if not isinstance(self.catalog, EditableCatalog):
            raise ConfigurationError("This catalog belongs to the host and cannot be written; configure it there.")
        return self.catalog


def _revealed(values: Iterable[ConfigValue]) -> dict[str, str]:
    """The values that could be read."""
    return {value.key: value.value.reveal() for value in values if not value.problem}


def _read(env: Any) -> Any:
    """An env as a plain dict, where it is a mapping of any kind."""
    return dict(env) if isinstance(env, Mapping) else env


def _resolved_wrongly(error: ConfigurationError, named: Collection[str]) -> ResolvedEnvInvalid:
    """What is wrong with an env that was resolved; of its keys only those in ``named`` are: another may be a token."""
    fields: dict[str, str] = {}
    for key, problem in error.fields.items():
        fields.setdefault(key if key in named else WHOLE, problem if key in named else f"a key of it: {problem}")
    told = "; ".join(problem if key == WHOLE else f"{key}: {problem}" for key, problem in fields.items())
    return ResolvedEnvInvalid(f"what resolve_env returned is not valid: {told}", fields=fields)


def _marked(env: object) -> set[str]:
    """The keys whose value the host marked by the type :class:`Secret`."""
    return {key for key, value in env.items() if isinstance(value, Secret)} if isinstance(env, Mapping) else set()


def _texts(names: Iterable[str]) -> set[str]:
    return {names} if isinstance(names, str) else set(names)
