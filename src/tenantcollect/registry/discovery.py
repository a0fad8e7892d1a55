"""Finds what is installed, by name, and imports nothing (floor: registry)."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, distributions
from typing import Any, Self

from attrs import field, frozen

from tenantcollect.errors import ConfigurationError, PluginError
from tenantcollect.keys import split_collector
from tenantcollect.registry.signatures import known_names
from tenantcollect.telling import words

__all__ = ["ALLOW_LIST", "COLLECTORS", "EXTENSIONS", "Entry", "Found", "Problem", "discover", "scan"]

COLLECTORS = "tenantcollect.collectors"
EXTENSIONS = "tenantcollect.extensions"
ALLOW_LIST = "TENANTCOLLECT_PLUGINS"
"""Environment variable: distribution or collector names, separated by commas; empty = all."""

EntryPoints = Callable[..., Iterable[EntryPoint]]


@frozen(kw_only=True)
class Problem:
    """Why something installed cannot be used: ``reason`` names the package, the place and the cure."""

    name: str
    package: str | None = None
    version: str | None = None
    reason: str


@frozen(kw_only=True)
class Entry:
    """A plugin that was found; ``load`` imports it. ``value`` is what the entry point names."""

    name: str
    package: str | None = None
    version: str | None = None
    value: str
    load: Callable[[], object] = field(repr=False, eq=False)

    @property
    def origin(self) -> str:
        """Where it came from, for people."""
        return f"{self.package} {self.version or ''}".strip() if self.package else "given in code"

    @property
    def data_source(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def script(self) -> str:
        """The part of the name after the dot; empty for the data source itself."""
        return self.name.partition(".")[2]

    def problem(self, text: str) -> Problem:
        """``text``, with the package named."""
        reason = f"{self.name} ({self.origin}): {text}"
        return Problem(name=self.name, package=self.package, version=self.version, reason=reason)


@frozen
class Allowed:
    """The allow-list: distributions, data sources and collectors that may be loaded; empty = all."""

    names: frozenset[str]

    @classmethod
    def of(cls, names: Collection[str] | None) -> Self:
        """``names``, or those of the environment variable TENANTCOLLECT_PLUGINS."""
        chosen = os.environ.get(ALLOW_LIST, "").split(",") if names is None else names
        return cls(frozenset(name.strip() for name in chosen if name.strip()))

    def __contains__(self, entry: Entry) -> bool:
        return not self.names or any(_names(listed, entry) for listed in self.names)

    def unmatched(self, entries: Collection[Entry]) -> dict[str, Problem]:
        """A problem for each listed name that fits nothing: a misspelt list would silently allow nothing."""
        known = {name for e in entries for name in (e.package or "", e.name, e.data_source) if name}
        problems = {}
        for listed in sorted(self.names):
            if not any(_names(listed, entry) for entry in entries):
                reason = f"{ALLOW_LIST} allows {listed!r}, which is not installed{known_names(listed, known)}"
                problems[f"{ALLOW_LIST}:{listed}"] = Problem(name=listed, reason=reason)
        return problems


def _names(listed: str, entry: Entry) -> bool:
    """Whether a listed name means ``entry``; who allows a script also allows what its data source shares."""
    if listed in (entry.name, entry.data_source) or _canonical(listed) == _canonical(entry.package or ""):
        return True
    return not entry.script and listed.startswith(f"{entry.name}.")


def _canonical(distribution: str) -> str:
    """As packaging tools compare names."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


@frozen(kw_only=True)
class Found:
    """What is installed and may be used, by name; ``excluded`` is what the allow-list leaves out.

    ``ambiguous`` are the names that two packages use; ``problems`` is what bears no usable name at all.
    """

    collectors: Mapping[str, Entry]
    ambiguous: Mapping[str, Problem]
    extensions: tuple[Entry, ...]
    problems: Mapping[str, Problem]
    excluded: frozenset[str]


def discover(given: Mapping[str, object], entry_points: EntryPoints, allow: Collection[str] | None) -> Found:
    """Scan both entry-point groups once; what others installed wrongly is listed, never raised."""
    allowed = Allowed.of(allow)
    problems: dict[str, Problem] = {}
    installed = scan(COLLECTORS, entry_points, problems)
    extensions = scan(EXTENSIONS, entry_points, problems)
    problems |= allowed.unmatched([*installed, *extensions])
    in_code = [_given(name, thing) for name, thing in given.items()]
    usable = [entry for entry in installed if entry in allowed and entry.name not in given]
    by_name = _by_name(entry for entry in (*in_code, *usable) if _well_named(entry, problems))
    return Found(
        collectors={name: same[0] for name, same in by_name.items() if len(same) == 1},
        ambiguous={name: _ambiguous(same) for name, same in by_name.items() if len(same) > 1},
        extensions=tuple(entry for entry in extensions if entry in allowed),
        problems=problems,
        excluded=frozenset(entry.name for entry in installed if entry not in allowed) - by_name.keys(),
    )


def _given(name: str, thing: object) -> Entry:
    described: Any = thing if hasattr(thing, "__name__") else type(thing)
    value = f"{getattr(described, '__module__', '')}.{described.__name__}".lstrip(".")
    return Entry(name=str(name), value=value, load=lambda: thing)


def scan(group: str, entry_points: EntryPoints, problems: dict[str, Problem]) -> list[Entry]:
    """The entries of a group by name; what cannot be read is added to ``problems``."""
    try:
        points = list(entry_points(group=group))
    except Exception:  # noqa: BLE001 - one unreadable distribution must not hide all others
        points = list(_one_by_one(group, problems))
    entries = [_installed(point) for point in points]
    return sorted(dict.fromkeys(entries), key=lambda entry: (entry.name, entry.package or "", entry.value))


def _one_by_one(group: str, problems: dict[str, Problem]) -> Iterator[EntryPoint]:
    for distribution in distributions():
        try:
            yield from distribution.entry_points.select(group=group)
        except Exception as error:  # noqa: BLE001 - whatever its metadata holds
            where = getattr(distribution, "_path", None) or "a distribution"
            told = f"{type(error).__name__}: {words(error)}"
            reason = f"the entry points of {where} cannot be read ({told}); reinstall it"
            problems[f"metadata:{where}"] = Problem(name=str(where), reason=reason)


def _installed(point: EntryPoint) -> Entry:
    package = point.dist.name if point.dist else None
    version = point.dist.version if point.dist else None

    def load() -> object:
        if not EntryPoint.pattern.match(point.value):
            raise PluginError(f"the entry point is {point.value!r}; write a module, or module:attribute")
        return point.load()

    return Entry(name=point.name, package=package, version=version, value=point.value, load=load)


def _well_named(entry: Entry, problems: dict[str, Problem]) -> bool:
    try:
        split_collector(entry.name)
    except ConfigurationError as error:
        problems[entry.name] = entry.problem(f"{error}; a collector is named 'data_source.script'")
        return False
    return True


def _by_name(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    by_name: dict[str, list[Entry]] = {}
    for entry in entries:
        by_name.setdefault(entry.name, []).append(entry)
    return by_name


def _ambiguous(same: Sequence[Entry]) -> Problem:
    """Which of two packages was meant is not ours to guess."""
    both = " and ".join(f"{entry.origin} ({entry.value})" for entry in same)
    cure = f"uninstall one of them, or list only the other in {ALLOW_LIST}"
    return same[0].problem(f"the name is used by two packages, {both}; {cure}")
