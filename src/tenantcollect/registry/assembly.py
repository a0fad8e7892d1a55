"""Asks the hooks of one data source and makes its collectors (floor: registry)."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from attrs import field, frozen

from tenantcollect.collectors import Collector, DataSource
from tenantcollect.errors import PluginError
from tenantcollect.registry import results
from tenantcollect.registry.discovery import Entry, Problem
from tenantcollect.registry.loading import SHARED_HOOKS, Parts, guarded
from tenantcollect.registry.plugins import Plugins
from tenantcollect.registry.signatures import place

__all__ = ["Loaded", "assembled"]

T = TypeVar("T")


@frozen(kw_only=True)
class Loaded:
    """What became of one data source; either ``source`` is there, or ``problems`` says why it is not."""

    source: DataSource | None = None
    collectors: dict[str, Collector] = field(factory=dict)
    problems: dict[str, Problem] = field(factory=dict)


def assembled(parts: Parts, plugins: Plugins) -> Loaded:
    """The data source and its collectors; each that cannot be made has its problem instead."""
    problems = dict(parts.problems)
    try:
        source = _source(parts, plugins)
    except PluginError as error:
        broken = (parts.data_source, *parts.scripts)
        return Loaded(problems=problems | {name: _problem(parts, name, str(error)) for name in broken})
    collectors = {}
    for name in parts.functions.keys() & set(parts.scripts):
        try:
            collectors[name] = _collector(parts, parts.entries[name], source, plugins)
        except PluginError as error:
            problems[name] = _problem(parts, name, str(error))
    return Loaded(source=source, collectors=dict(sorted(collectors.items())), problems=problems)


def _problem(parts: Parts, name: str, reason: str) -> Problem:
    entry = parts.entries.get(name)
    package, version = (entry.package, entry.version) if entry else (None, None)
    return Problem(name=name, package=package, version=version, reason=reason)


def _source(parts: Parts, plugins: Plugins) -> DataSource:
    """What the scripts share, from the data source's own plugin or from its only script."""
    holders = [
        name for name in (parts.data_source, *parts.only_script) if name in parts.entries or name in parts.problems
    ]
    if holders and holders[0] in parts.problems:
        raise PluginError(parts.problems[holders[0]].reason)
    owners = {
        hook: parts.entries[name] for name in holders for hook in parts.functions.get(name, ()) if hook in SHARED_HOOKS
    }

    def ask(hook: str, check: Callable[[object], T]) -> T | None:
        return _answer(parts, owners[hook], hook, check, plugins) if hook in owners else None

    def call(hook: str) -> Callable[..., object] | None:
        return partial(plugins.call, owners[hook].name, hook) if hook in owners else None

    entry = next((parts.entries[name] for name in (*holders, *parts.scripts) if name in parts.entries), None)
    return DataSource(
        name=parts.data_source,
        package=entry.package if entry else None,
        version=entry.version if entry else None,
        config_model=ask("config", results.config),
        tables=ask("tables", results.tables),
        check=call("check"),
        erase=call("erase"),
    )


def _collector(parts: Parts, entry: Entry, source: DataSource, plugins: Plugins) -> Collector:
    def ask(hook: str, check: Callable[[object], T]) -> T:
        return _answer(parts, entry, hook, check, plugins)

    return Collector(
        name=entry.name,
        source=source,
        package=entry.package,
        version=entry.version,
        provides=ask("provides", results.provides),
        dependencies=ask("dependencies", results.dependencies),
        duration=ask("import_window_duration", results.import_window_duration),
        options=ask("options", results.options),
        run=partial(plugins.call, entry.name, "run"),
        arguments=plugins.arguments(entry.name, "run"),
    )


def _answer(parts: Parts, entry: Entry, hook: str, check: Callable[[object], T], plugins: Plugins) -> T:
    """What ``hook`` returns, checked. Raises :class:`PluginError` that names the package and the place."""
    answer = _told(entry, lambda: guarded(f"{hook}() failed", lambda: plugins.call(entry.name, hook)))
    function = parts.functions[entry.name].get(hook)
    where = f"; it is at {place(function)}" if function is not None else ""
    return _told(entry, lambda: check(answer), where)


def _told(entry: Entry, call: Callable[[], T], where: str = "") -> T:
    try:
        return call()
    except PluginError as error:
        raise PluginError(entry.problem(f"{error}{where}").reason) from error
