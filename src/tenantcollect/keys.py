"""The key, the unit of state, leasing and history, and the grammar of its parts (floor: ground, pure)."""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable

from attrs import field, frozen

from tenantcollect.errors import ConfigurationError

__all__ = ["EVERYTHING", "Key", "Selection", "checked_name", "checked_tenant", "split_collector"]

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LONGEST_TENANT = 200
# Other, and the line and paragraph separators: nothing of these prints as one visible character.
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def checked_tenant(value: object) -> str:
    """The tenant id in Unicode NFC, in which tenant ids are compared.

    Raises :class:`ConfigurationError` when it is not text, is empty, longer than 200 characters, has outer
    spaces, or holds control characters or surrogates.
    """
    problem = _tenant_problem(value)
    if problem:
        raise ConfigurationError(f"tenant_id {problem}", fields={"tenant_id": problem})
    return unicodedata.normalize("NFC", str.__str__(value))  # the text itself, also of a str-based Enum


def _tenant_problem(value: object) -> str | None:
    if not isinstance(value, str):
        return f"must be text, not {type(value).__name__}"
    if not value:
        return "must not be empty"
    if value != value.strip():
        return "must not begin or end with a space"
    if any(unicodedata.category(c) in INVISIBLE for c in value):
        return "must not hold control or invisible characters"
    if len(unicodedata.normalize("NFC", value)) > LONGEST_TENANT:
        return f"must not be longer than {LONGEST_TENANT} characters"
    return None


def checked_name(value: object, what: str) -> str:
    """``value`` if it is a name of a data source, script or resource: ``[a-z][a-z0-9_-]{0,62}``.

    Raises :class:`ConfigurationError`, naming ``what``.
    """
    match = NAME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        shown = ascii(value)[:80]
        problem = f"{shown} is not a valid name: at most 63 of a-z, 0-9, _ and -, beginning with a letter"
        raise ConfigurationError(f"{what} {problem}", fields={what: problem})
    return match.group()


def split_collector(name: str) -> tuple[str, str | None]:
    """``github.commit`` → ``("github", "commit")``; ``github`` → ``("github", None)``."""
    data_source, dot, script = name.partition(".")
    return checked_name(data_source, "data_source"), checked_name(script, "script") if dot else None


def _data_source(value: object) -> str:
    return checked_name(value, "data_source")


def _script(value: object) -> str:
    return checked_name(value, "script")


@frozen(order=True)
class Key:
    """(tenant_id, data_source, script); ordered, because locks are taken in the order of keys."""

    tenant_id: str = field(converter=checked_tenant)
    data_source: str = field(converter=_data_source)
    script: str = field(converter=_script)

    @property
    def collector(self) -> str:
        """The name of the collector that serves this key: ``data_source.script``."""
        return f"{self.data_source}.{self.script}"

    def __str__(self) -> str:
        return f"{self.tenant_id}/{self.data_source}/{self.script}"


_Chosen = str | Iterable[str] | None


def _each(values: object, check: Callable[[object], str]) -> frozenset[str] | None:
    if values is None:
        return None
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        values = [values]
    return frozenset(map(check, values))


def _tenants(values: _Chosen) -> frozenset[str] | None:
    return _each(values, checked_tenant)


def _data_sources(values: _Chosen) -> frozenset[str] | None:
    return _each(values, _data_source)


def _scripts(values: _Chosen) -> frozenset[str] | None:
    return _each(values, _script)


@frozen
class Selection:
    """Which keys a command speaks of. Each part takes one text or several; None means every one, an empty
    collection means none: what a program computed must not become everything.
    """

    tenant_ids: frozenset[str] | None = field(default=None, converter=_tenants)
    data_sources: frozenset[str] | None = field(default=None, converter=_data_sources)
    scripts: frozenset[str] | None = field(default=None, converter=_scripts)

    def matches(self, key: Key) -> bool:
        """Whether ``key`` is among those selected."""
        return (
            _chosen(self.tenant_ids, key.tenant_id)
            and _chosen(self.data_sources, key.data_source)
            and _chosen(self.scripts, key.script)
        )


def _chosen(among: Collection[str] | None, value: str) -> bool:
    return among is None or value in among


EVERYTHING = Selection()
