"""Who waits for whom: the dependency graph of one tenant (floor: contracts, pure).

A bare resource name means the provider in the same data source, else the only provider among the tenant's
sources; ``source:resource`` is explicit. What cannot be resolved is an error for that tenant only (DESIGN 3).
"""

from collections import deque
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


Resolved = tuple[str | None, str | None]


@frozen
class Graph:
    """For each collector its direct upstreams, and the problem that keeps it from running."""

    upstreams: Mapping[str, tuple[str, ...]]
    problems: Mapping[str, str]
    order: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, nodes: Iterable[Node], broken: Iterable[Node] = ()) -> Self:
        """Resolve ``nodes``; ``broken`` collectors cannot run but are known to provide their own name."""
        sound = {node.name: node for node in nodes}.values()
        providers = _providers({node.name: node for node in (*broken, *sound)}.values())
        found = {node.name: [_resolve(node, name, providers) for name in node.dependencies] for node in sound}
        upstreams = {name: tuple(dict.fromkeys(up for up, _ in pairs if up)) for name, pairs in found.items()}
        problems: dict[str, str] = {}
        for name, pairs in found.items():
            wrong = dict.fromkeys(filter(None, (*(said for _, said in pairs), _cycle(name, upstreams))))
            if wrong:
                problems[name] = "; ".join(wrong)
        return cls(upstreams, problems, _order(upstreams, problems))

    def downstreams(self, name: str) -> tuple[str, ...]:
        """The collectors that directly depend on ``name``."""
        return tuple(other for other, upstreams in self.upstreams.items() if name in upstreams)

    def ancestors(self, name: str) -> Iterator[str]:
        """Every direct or indirect upstream of ``name``, each once, nearest first."""
        return _reach(name, lambda other: self.upstreams.get(other, ()))

    def descendants(self, name: str) -> Iterator[str]:
        """Every direct or indirect dependent of ``name``, each once, nearest first."""
        downstreams: dict[str, list[str]] = {}
        for other, upstreams in self.upstreams.items():
            for upstream in upstreams:
                downstreams.setdefault(upstream, []).append(other)
        return _reach(name, lambda other: downstreams.get(other, ()))


def _reach(name: str, step: Callable[[str], Iterable[str]]) -> Iterator[str]:
    seen, queue = {name}, deque(step(name))
    while queue:
        other = queue.popleft()
        if other not in seen:
            seen.add(other)
            yield other
            queue.extend(step(other))


def _providers(nodes: Iterable[Node]) -> dict[str, list[Node]]:
    providers: dict[str, list[Node]] = {}
    for node in nodes:
        for resource in dict.fromkeys(node.provides):
            providers.setdefault(resource, []).append(node)
    return providers


def _resolve(node: Node, dependency: str, providers: Mapping[str, list[Node]]) -> Resolved:
    """The providing collector's name, or a problem that says what to do."""
    source, explicit, resource = dependency.rpartition(":")
    candidates = [o for o in providers.get(resource, ()) if not explicit or o.data_source == source]
    near = [o for o in candidates if o.data_source == node.data_source] or candidates
    if len(near) == 1:
        return near[0].name, None
    if near:
        return None, _ambiguous(node, dependency, near)
    return None, (
        f"{node.name} depends on {dependency!r}, which no collector of this tenant's data sources provides; "
        f"install it, or configure the data source that provides it"
    )


def _ambiguous(node: Node, dependency: str, near: list[Node]) -> str:
    names = ", ".join(sorted(other.name for other in near))
    one_each = len({other.data_source for other in near}) == len(near)
    cure = "write source:resource" if one_each else "in one data source only one may provide a resource"
    return f"{node.name} depends on {dependency!r}, which several provide ({names}); {cure}"


def _cycle(name: str, upstreams: Mapping[str, tuple[str, ...]]) -> str | None:
    """A problem if ``name`` stands on a cycle: it names the shortest one, told from its first name on."""
    seen = {name}
    paths: deque[tuple[str, ...]] = deque([(name,)])
    while paths:
        path = paths.popleft()
        for upstream in upstreams.get(path[-1], ()):
            if upstream == name:
                return _told(path)
            if upstream not in seen:
                seen.add(upstream)
                paths.append((*path, upstream))
    return None


def _told(cycle: tuple[str, ...]) -> str:
    first = cycle.index(min(cycle))
    circle = " -> ".join((*cycle[first:], *cycle[:first], cycle[first]))
    return f"these collectors depend on each other in a circle: {circle}; remove one dependency"


def _order(upstreams: Mapping[str, tuple[str, ...]], problems: Mapping[str, str]) -> tuple[str, ...]:
    sound = {name: set(ups) - set(problems) for name, ups in upstreams.items() if name not in problems}
    return tuple(name for level in toposort(sound) for name in sorted(level) if name in sound)
