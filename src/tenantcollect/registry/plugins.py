"""Plugins as pluggy sees them: one collector's hook, and the host's wrappers around it (floor: registry)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import pluggy
from attrs import frozen

from tenantcollect import hookspecs
from tenantcollect.registry.driving import synchronous
from tenantcollect.registry.signatures import Implementation

__all__ = ["Hooks", "Plugins"]


class Hooks:
    """The marked functions of one plugin, told apart by identity, which a plugin may have redefined."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        vars(self).update(functions)

    @classmethod
    def of_collector(cls, functions: Mapping[str, Callable[..., Any]]) -> Self:
        """One function per hook, each behind an adapter that awaits: wrappers see results, not coroutines."""
        return cls({hook: hookspecs.hookimpl(synchronous(function)) for hook, function in functions.items()})

    @classmethod
    def of_extension(cls, wrappers: Iterable[Implementation]) -> Self:
        """The wrappers as their author wrote and ordered them."""
        for one in wrappers:
            # A mark above @staticmethod or @classmethod is seen by some versions of pluggy only.
            setattr(getattr(one.function, "__func__", one.function), f"{hookspecs.PROJECT}_impl", one.options)
        return cls({one.attribute: one.function for one in wrappers})


@frozen
class Plugins:
    """A plugin manager that never changes again, so that calls need no lock while others load."""

    manager: pluggy.PluginManager
    collectors: Mapping[str, Hooks]

    @classmethod
    def of(cls, extensions: Mapping[str, Hooks], collectors: Mapping[str, Hooks]) -> Self:
        """Register all of them, each under its name."""
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        for name, hooks in (*extensions.items(), *collectors.items()):
            manager.register(hooks, name)
        return cls(manager, dict(collectors))

    def call(self, name: str, hook: str, **arguments: Any) -> Any:
        """What the collector ``name`` answers to ``hook``, as the wrappers leave it."""
        return self._caller(name, hook)(**arguments)

    def arguments(self, name: str, hook: str) -> frozenset[str]:
        """What the collector's function or a wrapper around it names: the rest need not be made."""
        return frozenset(a for impl in self._caller(name, hook).get_hookimpls() for a in impl.argnames)

    def _caller(self, name: str, hook: str) -> pluggy.HookCaller:
        others = [hooks for other, hooks in self.collectors.items() if other != name]
        return self.manager.subset_hook_caller(hook, others)
