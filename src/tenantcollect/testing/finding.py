"""Under which name, and with what besides, a module is a collector (floor: testing)."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

from tenantcollect.registry import Registry
from tenantcollect.registry.discovery import COLLECTORS

__all__ = ["only", "registry_of"]


def registry_of(module: object, source: object | None = None) -> tuple[str, Registry]:
    """The name of the collector that ``module`` is, and a registry that has it, without the host's extensions.

    A module that an installed entry point names bears that name, and its data source comes with it; ``source``
    is the data source's own plugin where nothing is installed. Nothing is loaded yet.
    """
    if source is None:
        for point in _installed(module):
            return point.name, Registry({point.name: module}, allow=(), entry_points=_of(point.name))
    name = _made_up(module)
    given = {name: module} if source is None else {name.partition(".")[0]: source, name: module}
    return name, only(given)


def only(collectors: Mapping[str, object]) -> Registry:
    """A registry of these collectors, whatever else is installed."""
    return Registry(collectors, allow=(), entry_points=lambda **_: ())


def _of(name: str) -> Callable[..., Iterable[EntryPoint]]:
    """The installed collectors of one data source."""
    data_source = name.partition(".")[0]

    def entry_points(*, group: str) -> Iterable[EntryPoint]:
        found = metadata.entry_points(group=group) if group == COLLECTORS else ()
        return [point for point in found if point.name.partition(".")[0] == data_source]

    return entry_points


def _installed(module: object) -> Iterator[EntryPoint]:
    """The entry points that name this very object, or its class: only those of its own module are imported to see."""
    home = module.__name__ if isinstance(module, ModuleType) else _owner(module).__module__
    for point in metadata.entry_points(group=COLLECTORS):
        if point.module == home and "." in point.name and _is_named(point.load(), module):
            yield point


def _is_named(loaded: object, module: object) -> bool:
    """Whether an entry point's object is this one; of a class, any instance of it, and the other way round."""
    if loaded is module or isinstance(loaded, ModuleType) or isinstance(module, ModuleType):
        return loaded is module
    return _owner(loaded) is _owner(module)


def _owner(thing: object) -> Any:
    return thing if isinstance(thing, type) else type(thing)


def _made_up(module: object) -> str:
    """``acme_crm.contact`` for the module of that name: a name that nobody gave."""
    path = (
        module.__name__ if isinstance(module, ModuleType) else f"{_owner(module).__module__}.{_owner(module).__name__}"
    )
    words = path.rsplit(".", 2)[-2:]
    return f"{_name(words[0])}.{_name(words[-1])}"


def _name(word: str) -> str:
    found = re.sub("[^a-z0-9_-]", "_", word.lower()).lstrip("_0123456789-")
    return found[:63] or "collector"
