"""Who waits for whom: the dependency graph of one tenant (floor: contracts, pure).

A bare resource name means the provider in the same data source, else the only provider among the tenant's
sources; ``source:resource`` is explicit. What cannot be resolved is an error for that tenant only (DESIGN 3).
"""

import graphlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Self

from attrs import field, frozen
from toposort import toposort

__all__ = ["Graph", "Node"]


@frozen
class Node:
    """One collector as the graph sees it; ``name`` is ``data_source.script``."""

    name: str
    provides: tuple[str, ...]
    dependencies: tuple[str, ...] = ()

    @property
    def data_source(self) -> str:
        """The data source the collector belongs to."""
        return self.name.partition(".")[0]


@frozen
class Graph:
    """The resolved graph: for each collector its direct upstreams, or the problem that keeps it from running."""

    upstreams: Mapping[str, tuple[str, ...]]
    problems: Mapping[str, str]
    order: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, nodes: Iterable[Node], broken: Iterable[Node] = ()) -> Self:
        """Resolve ``nodes``; ``broken`` collectors cannot run but are known to provide their own name."""
        by_name = {node.name: node for node in nodes}
        providers = _providers((*by_name.values(), *broken))
        upstreams: dict[str, tuple[str, ...]] = {}
        problems: dict[str, str] = {}
        for node in by_name.values():
            found = {dependency: _resolve(node, dependency, providers) for dependency in node.dependencies}
            wrong = [problem for _, problem in found.values() if problem]
            if wrong:
                problems[node.name] = "; ".join(wrong)
            upstreams[node.name] = tuple(dict.fromkeys(name for name, _ in found.values() if name))
        problems |= _cycles(upstreams, problems)
        return cls(upstreams, problems, _order(upstreams, problems))

    def downstreams(self, name: str) -> tuple[str, ...]:
        """The collectors that directly depend on ``name``."""
        return tuple(other for other, upstreams in self.upstreams.items() if name in upstreams)

    def ancestors(self, name: str) -> Iterator[str]:
        """Every direct or indirect upstream of ``name``, each once, nearest first."""
        return _reach(name, lambda other: self.upstreams.get(other, ()))

    def descendants(self, name: str) -> Iterator[str]:
        """Every direct or indirect dependent of ``name``, each once, nearest first."""
        return _reach(name, self.downstreams)


def _reach(name: str, step: Callable[[str], Iterable[str]]) -> Iterator[str]:
    seen, queue = {name}, list(step(name))
    while queue:
        other = queue.pop(0)
        if other not in seen:
            seen.add(other)
            yield other
            queue.extend(step(other))


def _providers(nodes: Iterable[Node]) -> dict[str, list[Node]]:
    providers: dict[str, list[Node]] = {}
    for node in nodes:
        for resource in node.provides:
            providers.setdefault(resource, []).append(node)
    return providers


def _resolve(node: Node, dependency: str, providers: Mapping[str, list[Node]]) -> tuple[str | None, str | None]:
    """The providing collector's name, or a problem that says what to do."""
    source, explicit, resource = dependency.rpartition(":")
    candidates = [other for other in providers.get(resource, ()) if not explicit or other.data_source == source]
    near = [other for other in candidates if other.data_source == node.data_source] or candidates
    if len(near) == 1:
        return near[0].name, None
    if near:
        names = ", ".join(sorted(other.name for other in near))
        return None, f"{node.name} depends on {dependency!r}, which several provide ({names}); write source:resource"
    return None, (
        f"{node.name} depends on {dependency!r}, which no collector of this tenant's data sources provides; "
        f"install it, or configure the data source that provides it"
    )


def _cycles(upstreams: Mapping[str, tuple[str, ...]], problems: Mapping[str, str]) -> dict[str, str]:
    """A problem for each collector that stands on a cycle, naming the exact cycle; innocent ones are not named."""
    remaining = {name: set(ups) for name, ups in upstreams.items() if name not in problems}
    found: dict[str, str] = {}
    while True:
        try:
            graphlib.TopologicalSorter(remaining).prepare()
        except graphlib.CycleError as error:
            cycle = error.args[1][::-1]
            text = f"these collectors depend on each other in a circle: {' -> '.join(cycle)}; remove one dependency"
            for name in cycle:
                found[name] = text
                remaining.pop(name, None)
        else:
            return found


def _order(upstreams: Mapping[str, tuple[str, ...]], problems: Mapping[str, str]) -> tuple[str, ...]:
    sound = {name: {up for up in ups if up not in problems} for name, ups in upstreams.items() if name not in problems}
    return tuple(name for level in toposort(sound) for name in sorted(level) if name in sound)
