"""Reads what scheduling decides on: the facts of some tenants, together and in few statements (floor: survey)."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

from attrs import define, evolve, field

from tenantcollect.catalog import Catalog, Source, checked_settings
from tenantcollect.collectors import Collector
from tenantcollect.errors import CatalogFailed, ConfigurationError, TenantcollectError
from tenantcollect.graph import Graph
from tenantcollect.keys import Key, Selection
from tenantcollect.locks import Locks
from tenantcollect.registry import Registry
from tenantcollect.scheduling import Facts
from tenantcollect.secrets import Masker
from tenantcollect.state import NewKey, State
from tenantcollect.telling import words

__all__ = ["Survey", "new_keys"]

TENANTS_AT_ONCE = 100

T = TypeVar("T")


@define
class _Installed:
    """What a set of data sources brings with it; the same for every tenant that has just these."""

    collectors: dict[str, Collector]
    broken: dict[str, str]
    graph: Graph


@define
class Survey:
    """The reading side of an orchestrator; keeps one dependency graph per combination of data sources."""

    catalog: Catalog
    registry: Registry
    state: State
    locks: Locks
    _installed: dict[frozenset[str], _Installed] = field(factory=dict)

    def facts(
        self, tenant_ids: Collection[str], now: datetime, keys: Collection[Key] | None = None
    ) -> dict[str, Facts]:
        """The facts of ``tenant_ids`` at ``now``; with ``keys`` only of those and all they depend on."""
        found = {tenant_id: self._outline(tenant_id, sources, now) for tenant_id, sources in self._sources(tenant_ids)}
        if keys is None:
            states = {s.key: s for s in self.state.load(Selection(tenant_ids))} if tenant_ids else {}
            wanted = set(states).union(*(facts.known() for facts in found.values()))
        else:
            wanted = set(keys) | {up for key in keys for up in ancestors(found[key.tenant_id], key)}
            states = {s.key: s for s in self.state.load(wanted)}
        entries, holders = self.state.schedule.entries(wanted), self.locks.holders(wanted)
        holds = self.state.holds.held(tenant_ids)
        states_of, entries_of, holders_of = _by_tenant(states), _by_tenant(entries), _by_tenant(holders)
        for tenant_id, facts in found.items():
            facts.states = states_of.get(tenant_id, {})
            facts.entries = entries_of.get(tenant_id, {})
            facts.holders = holders_of.get(tenant_id, {})
            facts.holds = [hold for hold in holds if hold.tenant_id == tenant_id]
        return found

    def version(self) -> object:
        """The catalog's version."""
        with _told_of_catalog():
            return self.catalog.version()

    def sources(self, tenant_ids: Collection[str] | None) -> Iterator[Source]:
        """The catalog's sources; raises :class:`CatalogFailed` for whatever a host's catalog raises."""
        with _told_of_catalog():
            yield from self.catalog.sources(tenant_ids)

    def tenants(self, selection: Selection) -> Iterator[list[str]]:
        """The selected tenants that are configured or have state, some at a time."""
        known = {s.tenant_id for s in self.sources(selection.tenant_ids)}
        known |= {state.key.tenant_id for state in self.state.load(selection)}
        ordered = sorted(known)
        for start in range(0, len(ordered), TENANTS_AT_ONCE):
            yield ordered[start : start + TENANTS_AT_ONCE]

    def configured(self, tenant_ids: Collection[str] | None) -> Iterator[list[str]]:
        """The tenants of the catalog, some at a time, without holding them all."""
        batch: dict[str, None] = {}
        for source in self.sources(tenant_ids):
            if source.tenant_id not in batch and len(batch) >= TENANTS_AT_ONCE:
                yield list(batch)
                batch = {}
            batch[source.tenant_id] = None
        if batch:
            yield list(batch)

    def installed(self, data_sources: Iterable[str]) -> _Installed:
        """The collectors and the graph of a combination of data sources; imports no other plugin."""
        names = frozenset(data_sources)
        if names not in self._installed:
            collectors = {collector.name: collector for collector in self.registry.collectors(names)}
            broken = {name: problem.reason for name, problem in self.registry.problems(names).items() if "." in name}
            self._installed[names] = _Installed(collectors, broken, self.registry.graph(names))
        return self._installed[names]

    def _sources(self, tenant_ids: Collection[str]) -> list[tuple[str, dict[str, Source]]]:
        by_tenant: dict[str, dict[str, Source]] = {tenant_id: {} for tenant_id in tenant_ids}
        for source in self.sources(tenant_ids):
            by_tenant.setdefault(source.tenant_id, {})[source.data_source] = source
        return list(by_tenant.items())

    def _outline(self, tenant_id: str, sources: dict[str, Source], now: datetime) -> Facts:
        installed = self.installed(sources)
        spoiled = {name: problem for name, source in sources.items() if (problem := _problem(source, now))}
        chosen = {name: evolve(sources[name], since=None, interval=None, order="oldest_first") for name in spoiled}
        return Facts(
            tenant_id=tenant_id,
            now=now,
            sources={**sources, **chosen},
            spoiled=spoiled,
            collectors=installed.collectors,
            broken=installed.broken,
            graph=installed.graph,
        )


def _by_tenant(found: Mapping[Key, T]) -> dict[str, dict[Key, T]]:
    parts: dict[str, dict[Key, T]] = {}
    for key, value in found.items():
        parts.setdefault(key.tenant_id, {})[key] = value
    return parts


def _problem(source: Source, now: datetime) -> str | None:
    """What a tenant has chosen for a data source that cannot be planned with."""
    if source.since is None and source.interval is None and source.order == "oldest_first":
        return None
    try:
        checked_settings(source.since, source.interval, source.order, lambda: now)
    except ConfigurationError as error:
        return f"{source.data_source} is configured wrongly: {error}"
    return None


@contextmanager
def _told_of_catalog() -> Iterator[None]:
    try:
        yield
    except TenantcollectError:
        raise
    except Exception as error:
        message = Masker().storable(f"{type(error).__name__}: {words(error)}".split("\n", 1)[0])
        raise CatalogFailed(f"{CatalogFailed()} ({message})") from error


def ancestors(facts: Facts, key: Key) -> Iterator[Key]:
    """Every key that ``key`` depends on, directly or not."""
    return (facts.key(name) for name in facts.graph.ancestors(key.collector))


def new_keys(facts: Facts) -> list[NewKey]:
    """The keys that the tenant's collectors need and that are not there yet, or not whole, with their history starts.

    A history start is now minus the collector's initial_range, or the tenant's ``since``. An upstream's history
    begins no later than that of its dependents, or they would wait for ever for what was never planned (G5).
    """
    starts = {facts.key(name): _own_start(facts, name) for name in facts.collectors}
    for name in reversed(facts.graph.order):
        key = facts.key(name)
        if key not in facts.states:
            below = [starts[facts.key(other)] for other in facts.graph.downstreams(name) if facts.key(other) in starts]
            starts[key] = min([starts[key], *below])
    for name in facts.graph.order:
        key = facts.key(name)
        above = [starts[up] for up in facts.upstreams(key) if up in facts.states and up in starts]
        if key not in facts.states:
            starts[key] = max([starts[key], *above])
    whole = facts.states.keys() & facts.entries.keys()
    missing = (key for key in sorted(starts) if key not in whole and key.data_source not in facts.spoiled)
    return [NewKey(key=key, history_start=starts[key]) for key in missing]


def _own_start(facts: Facts, name: str) -> datetime:
    key = facts.key(name)
    if key in facts.states:
        return facts.states[key].history_start
    since = facts.sources[key.data_source].since
    return since if since is not None else facts.now - facts.collectors[name].options.initial_range
