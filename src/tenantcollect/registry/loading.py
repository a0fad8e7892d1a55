"""Imports the plugins of one data source and reads their hooks (floor: registry)."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Self, TypeVar

from attrs import frozen

from tenantcollect.collectors import DEFAULT_DURATION, CollectorOptions
from tenantcollect.errors import PluginError
from tenantcollect.registry.discovery import Entry, Problem
from tenantcollect.registry.plugins import Hooks
from tenantcollect.registry.signatures import Implementation, implementations, place
from tenantcollect.secrets import one_line, storable
from tenantcollect.telling import IMPORTING, told

__all__ = ["SHARED_HOOKS", "Parts", "guarded", "instance"]

SHARED_HOOKS = frozenset({"config", "check", "tables", "erase"})
"""Belong to a data source, or to its only script."""
SCRIPT_HOOKS = frozenset({"run", "provides", "dependencies", "import_window_duration"})
"""Belong to a script."""

INTERNAL = (*IMPORTING, "/tenantcollect/registry/", "/tenantcollect/collectors.py", "<attrs generated", "/pluggy/")
DEFAULT_OPTIONS = CollectorOptions()

T = TypeVar("T")
Functions = Mapping[str, Callable[..., Any]]


@frozen(kw_only=True)
class Parts:
    """The plugins of one data source, read but not yet asked; ``scripts`` are all that were found."""

    data_source: str
    entries: Mapping[str, Entry]
    functions: Mapping[str, Functions]
    problems: Mapping[str, Problem]
    scripts: Sequence[str]

    @classmethod
    def read(
        cls,
        data_source: str,
        entries: Sequence[Entry],
        scripts: Sequence[str],
        problems: Mapping[str, Problem],
    ) -> Self:
        """Import every plugin of the data source; what cannot be used is added to ``problems``."""
        wrong = dict(problems)
        functions: dict[str, Functions] = {}
        for entry in sorted(entries, key=lambda entry: entry.name):
            try:
                shared = functions.get(data_source, {})
                functions[entry.name] = _functions(entry, alone=len(scripts) == 1, shared=shared)
            except PluginError as error:
                wrong[entry.name] = entry.problem(str(error))
        by_name = {entry.name: entry for entry in entries}
        return cls(data_source=data_source, entries=by_name, functions=functions, problems=wrong, scripts=scripts)

    @property
    def only_script(self) -> Sequence[str]:
        """The script's name, if it is alone."""
        return self.scripts if len(self.scripts) == 1 else ()

    def hooks(self) -> dict[str, Hooks]:
        """Every plugin as it is registered; defaults are hooks like any other, so that wrappers see them."""
        own = self.functions.get(self.data_source, {})
        shared = {hook: function for hook, function in own.items() if hook == "options"}
        return {
            name: Hooks.of_collector({**_defaults(name), **shared, **functions} if "." in name else functions)
            for name, functions in self.functions.items()
        }


def _defaults(name: str) -> Functions:
    script = name.partition(".")[2]
    return {
        "provides": lambda: (script,),
        "dependencies": lambda: (),
        "import_window_duration": lambda: DEFAULT_DURATION,
        "options": lambda: DEFAULT_OPTIONS,
    }


def _functions(entry: Entry, *, alone: bool, shared: Collection[str]) -> Functions:
    """The hooks of the plugin that ``entry`` names.

    ``alone`` = its data source has no other script, ``shared`` = the hooks of the data source's own plugin.
    Raises :class:`PluginError` with the place and the cure.
    """
    plugin = instance(guarded(f"{entry.value} cannot be imported", entry.load))
    found = guarded("its hooks cannot be read", lambda: implementations(plugin))
    wrong = _script_problems(entry, plugin, found, alone, shared) if entry.script else _source_problems(entry, found)
    if problems := "; ".join(wrong):
        raise PluginError(problems)
    return {hook: one.function for hook, one in found.items()}


def instance(thing: object) -> object:
    """A module or object as it is, a class called without arguments. Raises :class:`PluginError`."""
    if isinstance(thing, type):
        return guarded(f"the class {thing.__name__} at {place(thing)} cannot be called without arguments", thing)
    if thing is None or inspect.isroutine(thing) or isinstance(thing, str | bytes | int | float | list | tuple | dict):
        kind = "function" if inspect.isroutine(thing) else type(thing).__name__
        raise PluginError(f"a plugin must be a module, an object or a class with hooks, not a {kind}")
    return thing


def guarded(what: str, call: Callable[[], T]) -> T:
    """What ``call`` returns; all that other people's code may raise comes out as a :class:`PluginError`.

    Also SystemExit, which a script raises when it is imported; only KeyboardInterrupt is the user's own.
    """
    try:
        return call()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or type(error) is PluginError:
            raise
        raise PluginError(f"{what}: {storable(one_line(told(error, INTERNAL)))}") from error


def _source_problems(entry: Entry, found: Mapping[str, Implementation]) -> Iterator[str]:
    for hook in sorted(SCRIPT_HOOKS & found.keys()):
        yield (
            f"{hook}() at {place(found[hook].function)} belongs to a script; move it to a module of its own "
            f'and name that "{entry.name}.<script>" in the entry points'
        )


def _script_problems(
    entry: Entry, plugin: object, found: Mapping[str, Implementation], alone: bool, shared: Collection[str]
) -> Iterator[str]:
    if "run" not in found:
        kind = "module" if isinstance(plugin, ModuleType) else f"object {type(plugin).__name__}"
        cure = "write `@hookimpl def run(env, db, tenant_id, start_date, end_date)`"
        yield f"the {kind} in {place(plugin)} has no run(); {cure}"
    for hook in sorted(SHARED_HOOKS & found.keys()):
        where = f"{hook}() at {place(found[hook].function)}"
        if not alone:
            cure = f'move it to the module that the entry point "{entry.data_source}" names'
            yield f"{where} belongs to the data source, which has other scripts; {cure}"
        elif hook in shared:
            yield f"{where} is already there in the data source's own plugin; remove one of both"
