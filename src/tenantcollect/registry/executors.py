"""Executors that are installed as extensions, found by name (floor: registry)."""

from concurrent.futures import Executor
from importlib import metadata
from inspect import isclass

from tenantcollect.errors import ConfigurationError
from tenantcollect.registry.discovery import EXTENSIONS, EntryPoints, scan
from tenantcollect.registry.loading import guarded
from tenantcollect.registry.signatures import known_names

__all__ = ["installed_executor", "is_executor"]


def is_executor(thing: object) -> bool:
    """Whether an extension runs windows, rather than wrapping hooks."""
    return isclass(thing) and issubclass(thing, Executor)


def installed_executor(name: str, entry_points: EntryPoints = metadata.entry_points) -> type[Executor]:
    """The executor that the extension ``name`` brings. Raises :class:`ConfigurationError`."""
    installed = {entry.name: entry for entry in scan(EXTENSIONS, entry_points, {})}
    if name not in installed:
        raise ConfigurationError(f"no executor {name!r} is installed{known_names(name, ['threads', *installed])}")
    kind = guarded(f"the executor {name!r} cannot be imported", installed[name].load)
    if not (isclass(kind) and issubclass(kind, Executor)):
        raise ConfigurationError(f"the extension {name!r} is no executor; there is: threads")
    return kind
