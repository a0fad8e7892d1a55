"""Loads the collectors of the data sources that are asked for, and no others (floor: registry)."""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

from tenantcollect import configuration
from tenantcollect.collectors import Collector, DataSource
from tenantcollect.errors import PluginError
from tenantcollect.graph import Graph, Node
from tenantcollect.registry.assembly import Loaded, assembled
from tenantcollect.registry.discovery import EntryPoints, Problem, discover
from tenantcollect.registry.executors import is_executor
from tenantcollect.registry.loading import Parts, guarded, instance
from tenantcollect.registry.plugins import Hooks, Plugins
from tenantcollect.registry.signatures import did_you_mean, wrappers
from tenantcollect.reports import CollectorRow

if TYPE_CHECKING:
    from pydantic import BaseModel
    from sqlalchemy import MetaData

__all__ = ["Registry"]


class Registry:
    """All collectors, installed or given in code; a plugin is imported when its data source is loaded.

    ``collectors`` (name → module, object or class) win over installed ones of the same name. ``extensions``
    wrap hooks; one that is given in code and cannot work raises :class:`PluginError` at once, all else that
    is wrong becomes a :class:`Problem`. ``allow`` None = TENANTCOLLECT_PLUGINS. Safe to use from threads.
    """

    def __init__(
        self,
        collectors: Mapping[str, object] | None = None,
        extensions: Sequence[object] = (),
        allow: Collection[str] | None = None,
        entry_points: EntryPoints = metadata.entry_points,
    ) -> None:
        self._found = discover(collectors or {}, entry_points, allow)
        self._known = self._found.collectors.keys() | self._found.ambiguous.keys()
        self._sources = {name.partition(".")[0] for name in self._known}
        self._lock = threading.RLock()
        self._loaded: dict[str, Loaded] = {}
        self._extension_problems: dict[str, Problem] = {}
        self._given = {f"extension:{n}": _extension(thing) for n, thing in enumerate(extensions, 1)}
        self._extensions: dict[str, Hooks] | None = None

    # What is known without importing anything.

    def excluded(self) -> list[str]:
        """What is installed, but left out by the allow-list."""
        return sorted(self._found.excluded)

    def names(self) -> list[str]:
        """Every collector found, ``data_source.script``, also those that turn out not to work."""
        return sorted(name for name in self._known if "." in name)

    def data_sources(self) -> list[str]:
        """Every data source found."""
        return sorted(self._sources)

    # What needs the plugins of the named data sources, and imports those only.

    def load(self, data_sources: Collection[str]) -> None:
        """Import the plugins of ``data_sources``, each once; names that are not installed are skipped."""
        if not self._new(data_sources):
            return
        with self._lock:
            parts = [self._read(name) for name in self._new(data_sources)]
            hooks = {name: hooks for part in parts for name, hooks in part.hooks().items()}
            # A manager of their own: the plugins that a call under way goes through must not change.
            plugins = Plugins.of(self._wrappers(), hooks)
            self._loaded = self._loaded | {part.data_source: assembled(part, plugins) for part in parts}

    def _read(self, data_source: str) -> Parts:
        def of_source(names: Iterable[str]) -> list[str]:
            return sorted(name for name in names if name.partition(".")[0] == data_source)

        return Parts.read(
            data_source,
            entries=[self._found.collectors[name] for name in of_source(self._found.collectors)],
            scripts=[name for name in of_source(self._known) if "." in name],
            problems={name: self._found.ambiguous[name] for name in of_source(self._found.ambiguous)},
        )

    def _new(self, data_sources: Collection[str]) -> list[str]:
        return sorted({name for name in data_sources if name in self._sources and name not in self._loaded})

    def collectors(self, data_sources: Collection[str]) -> list[Collector]:
        """The collectors of ``data_sources`` that work."""
        return [c for loaded in self._of(data_sources) for c in loaded.collectors.values()]

    def collector(self, name: str) -> Collector:
        """The collector ``name``. Raises :class:`PluginError` saying why there is none, and the cure."""
        for loaded in self._of([name.partition(".")[0]]):
            if name in loaded.collectors:
                return loaded.collectors[name]
            if name in loaded.problems:
                raise PluginError(loaded.problems[name].reason)
        raise PluginError(self._missing("collector", name, self.names()))

    def source(self, name: str) -> DataSource:
        """What the scripts of a data source share. Raises :class:`PluginError` saying why it is not known."""
        for loaded in self._of([name]):
            if loaded.source:
                return loaded.source
            raise PluginError(loaded.problems[name].reason)
        raise PluginError(self._missing("data source", name, self.data_sources()))

    def tables(self) -> "list[MetaData]":
        """The tables of every data source that works and has some."""
        sources = [loaded.source for loaded in self._of(self.data_sources())]
        return [source.tables for source in sources if source is not None and source.tables is not None]

    def table_names(self, data_source: str) -> list[str]:
        """The names of the tables that a data source declares; none where that cannot be known."""
        declared = self.source(data_source).tables if self.sound(data_source) else None
        return [table.name for table in declared.tables.values()] if declared is not None else []

    def problems(self, data_sources: Collection[str] | None = None) -> dict[str, Problem]:
        """What cannot be used, by name. None = all that is known so far, importing nothing."""
        if data_sources is not None:
            return {name: p for loaded in self._of(data_sources) for name, p in loaded.problems.items()}
        later = [loaded.problems for loaded in list(self._loaded.values())]
        known = [self._found.problems, self._found.ambiguous, self._extension_problems, *later]
        return {name: problem for some in known for name, problem in some.items()}

    def sound(self, data_source: str) -> bool:
        """Whether :meth:`source` knows ``data_source``."""
        return any(loaded.source is not None for loaded in self._of([data_source]))

    def require(self, data_source: str) -> None:
        """Raises :class:`PluginError` if ``data_source`` is not installed, or broken."""
        self.source(data_source)

    def rows(self) -> list[CollectorRow]:
        """Everything that was found, loaded, as people list it: what works by name, then what does not."""
        every = self.data_sources()
        self.load(every)
        problems = self.graph(every).problems
        sound = [_row(c, self.config_schema(c.data_source), problems.get(c.name)) for c in self.collectors(every)]
        broken = [
            CollectorRow(name=name, package=p.package, version=p.version, error=p.reason)
            for name, p in self.problems().items()
            if name in self._known or name not in self._sources
        ]
        return [*sound, *sorted(broken, key=lambda row: row.name)]

    def graph(self, data_sources: Collection[str]) -> Graph:
        """Who waits for whom among ``data_sources``; a broken collector is known to provide its own name."""
        nodes = [Node(c.name, c.provides, c.dependencies) for c in self.collectors(data_sources)]
        broken = [name for name in self.problems(data_sources) if "." in name]
        return Graph.of(nodes, [Node(name, (name.partition(".")[2],)) for name in broken])

    def _of(self, data_sources: Collection[str]) -> list[Loaded]:
        self.load(data_sources)
        return [self._loaded[name] for name in sorted(set(data_sources)) if name in self._loaded]

    def _missing(self, what: str, name: str, known: Iterable[str]) -> str:
        if any(name in (other, other.partition(".")[0]) for other in self._found.excluded):
            return f"the {what} {name!r} is installed, but TENANTCOLLECT_PLUGINS does not allow it"
        cure = did_you_mean(name, known) or "; install the package that has it"
        return f"no {what} {name!r} is installed{cure}"

    # A tenant's env against what the data source declares.

    def config_model(self, data_source: str) -> "type[BaseModel] | None":
        """The model of the env keys. Raises :class:`PluginError`."""
        return self.source(data_source).config_model

    def validate(self, data_source: str, env: Mapping[str, str], secrets: Iterable[str] = ()) -> "BaseModel | None":
        """``env``, typed; None if nothing is declared. Raises :class:`ConfigurationError` with ``fields``.

        ``secrets`` are keys that were marked so, beside those that are declared.
        """
        return configuration.validated(self.config_model(data_source), env, data_source=data_source, secrets=secrets)

    def secret_keys(self, data_source: str, env_keys: Iterable[str]) -> set[str]:
        """Which of ``env_keys`` are secret: declared so, or not declared. Raises :class:`PluginError`."""
        return configuration.secret_keys(self.config_model(data_source), env_keys)

    def declared_keys(self, data_source: str) -> Collection[str]:
        """The keys that its config model reads. Raises :class:`PluginError`."""
        return configuration.declared_keys(self.config_model(data_source))

    def config_schema(self, data_source: str) -> dict[str, Any]:
        """The JSON Schema of the env. Raises :class:`PluginError`."""
        return configuration.config_schema(self.config_model(data_source))

    # The host's wrappers.

    def _wrappers(self) -> dict[str, Hooks]:
        if self._extensions is None:
            installed = {}
            for entry in self._found.extensions:
                name = f"extension:{entry.name}"
                try:
                    loaded = guarded(f"{entry.value} cannot be imported", entry.load)
                    if not is_executor(loaded):
                        installed[f"{name} ({entry.origin}, {entry.value})"] = _extension(loaded)
                except PluginError as error:
                    self._extension_problems[name] = entry.problem(f"the extension is left out: {error}")
            # Registered last, so called first: what the host gave in code stands around all else.
            self._extensions = installed | self._given
        return self._extensions


def _row(collector: Collector, schema: Mapping[str, Any], problem: str | None) -> CollectorRow:
    return CollectorRow(
        name=collector.name,
        package=collector.package,
        version=collector.version,
        provides=collector.provides,
        dependencies=collector.dependencies,
        import_window_duration=collector.duration.total_seconds() if collector.duration else None,
        snapshot=collector.options.snapshot,
        config_schema=schema,
        dependency_error=problem,
    )


def _extension(thing: object) -> Hooks:
    return Hooks.of_extension(guarded("the extension cannot be read", lambda: wrappers(instance(thing))))
