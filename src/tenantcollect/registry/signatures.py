"""Reads the hooks of one plugin object, and refuses what pluggy would silently ignore (floor: registry)."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

from attrs import frozen

from tenantcollect import hookspecs
from tenantcollect.errors import PluginError

__all__ = ["HOOKS", "Implementation", "did_you_mean", "implementations", "known_names", "place", "wrappers"]

MOST_NAMES = 20

MARK = f"{hookspecs.PROJECT}_impl"
HOOKS: Mapping[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(spec).parameters)
    for name, spec in vars(hookspecs).items()
    if hasattr(spec, f"{hookspecs.PROJECT}_spec")
}
"""Each hook's name and the parameters that an implementation may take."""

# The exports of ADR-009 are constants; as Python constants they would be ignored.
CONSTANTS = frozenset({"provides", "dependencies", "import_window_duration"})
MARKABLE = (FunctionType, MethodType, staticmethod, classmethod)


@frozen(kw_only=True)
class Implementation:
    """One function of a plugin that is marked with ``@hookimpl``, bound and ready to be called."""

    hook: str
    attribute: str
    function: Callable[..., Any]
    options: Mapping[str, Any]

    @property
    def wraps(self) -> bool:
        """Whether it stands around the implementations of others."""
        return bool(self.options.get("wrapper") or self.options.get("hookwrapper"))


def implementations(plugin: object) -> dict[str, Implementation]:
    """The hooks that a collector implements, by hook.

    Raises :class:`PluginError` that says every problem with its place and cure.
    """
    found = list(_marked(plugin))
    problems = [*_unmarked(plugin, found), *(p for one in found for p in _problems(plugin, one))]
    problems += [f"{_at(one)} is a wrapper; pass it in extensions=[…]" for one in found if one.wraps]
    _refuse([*problems, *_doubled(found)])
    return {one.hook: one for one in found if one.hook in HOOKS}


def wrappers(extension: object) -> list[Implementation]:
    """The wrappers that an extension holds.

    Raises :class:`PluginError` that says every problem with its place and cure.
    """
    found = list(_marked(extension))
    problems = [*_unmarked(extension, found), *(p for one in found for p in _problems(extension, one))]
    problems += [
        f"{_at(one)} would answer in place of every collector; an extension wraps: @hookimpl(wrapper=True)"
        for one in found
        if not one.wraps
    ]
    _refuse(problems)
    return [one for one in found if one.hook in HOOKS]


def _refuse(problems: list[str]) -> None:
    if problems:
        raise PluginError("; ".join(dict.fromkeys(problems)))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'run'?`` if one of ``known`` is near ``word``, else nothing."""
    by_fold = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), by_fold, n=1)
    return f"; did you mean {by_fold[near[0]]!r}?" if near else ""


def known_names(word: str, known: Iterable[str]) -> str:
    """The name near ``word``, as above; where there is none, the names there are."""
    names = sorted(set(known))
    some = ", ".join(names[:MOST_NAMES]) + (", …" if len(names) > MOST_NAMES else "")
    return did_you_mean(word, names) or f"; there is: {some or 'nothing'}"


def place(thing: object) -> str:
    """``file:line`` of a function or class, or the file of a module; its name if it has none."""
    if isinstance(thing, ModuleType):
        return str(getattr(thing, "__file__", None) or thing.__name__)
    code = getattr(_underlying(inspect.unwrap(thing) if callable(thing) else thing), "__code__", None)
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    owner: Any = thing if isinstance(thing, type) else type(thing)
    try:
        return f"{inspect.getsourcefile(owner)}:{inspect.getsourcelines(owner)[1]}"
    except (OSError, TypeError):
        return f"{owner.__module__}.{owner.__qualname__}"


def _at(one: Implementation) -> str:
    return f"{one.attribute}() at {place(one.function)}"


def _underlying(static: Any) -> Any:
    """The function inside a static method, class method, bound method, property or partial."""
    if isinstance(static, staticmethod | classmethod | MethodType):
        return static.__func__
    if isinstance(static, property):
        return static.fget
    return static.func if isinstance(static, functools.cached_property | functools.partial) else static


def _mark(static: Any) -> Mapping[str, Any] | None:
    for holder in (static, _underlying(static)):
        # Statically: a plugin may hold objects whose attributes are made up when they are asked for.
        mark = inspect.getattr_static(holder, MARK, None)
        if isinstance(mark, dict):
            return mark
    return None


def _marked(plugin: object) -> Iterator[Implementation]:
    for attribute in dir(plugin):
        static = inspect.getattr_static(plugin, attribute, None)
        options = None if isinstance(static, ModuleType) else _mark(static)
        if options is None:
            continue
        if not isinstance(static, MARKABLE):
            if isinstance(static, type | property | functools.cached_property) or callable(static):
                kind = "class" if isinstance(static, type) else type(static).__name__
                raise PluginError(f"{attribute} at {place(static)} is a {kind}; @hookimpl marks functions")
            continue
        hook = options.get("specname") or attribute
        yield Implementation(hook=hook, attribute=attribute, function=getattr(plugin, attribute), options=options)


def _unmarked(plugin: object, found: Iterable[Implementation]) -> Iterator[str]:
    """A problem for each attribute that is named like a hook and would be ignored."""
    for hook in HOOKS.keys() - {one.hook for one in found}:
        static = inspect.getattr_static(plugin, hook, None)
        if static is None or not _meant(plugin, hook, static):
            continue
        if not isinstance(static, MARKABLE):
            kind = "class" if isinstance(static, type) else type(static).__name__
            cure = f"write a @hookimpl function {hook}() instead"
            yield f"{hook} in {place(plugin)} is a {kind}; {cure}"
            continue
        function = _underlying(static)
        others = [name[: -len("_impl")] for name, value in vars(function).items() if _is_marker(name, value)]
        marked = f"is marked for {others[0]}, not for {hookspecs.PROJECT}" if others else "lacks @hookimpl"
        cure = "write `from tenantcollect import hookimpl` and mark it, or rename it if it is no hook"
        yield f"{hook}() at {place(function)} {marked}; {cure}"


def _doubled(found: Iterable[Implementation]) -> Iterator[str]:
    """A problem for each hook that two functions implement: only one of them could be called."""
    first: dict[str, Implementation] = {}
    for one in found:
        other = first.setdefault(one.hook, one)
        if _underlying(other.function) is not _underlying(one.function):
            yield f"{_at(other)} and {_at(one)} both implement {one.hook}(); keep one of them"


def _is_marker(name: str, value: object) -> bool:
    return name.endswith("_impl") and isinstance(value, dict) and "hookwrapper" in value


def _meant(plugin: object, hook: str, static: Any) -> bool:
    """Whether an unmarked attribute can only have been meant as the hook."""
    if isinstance(static, ModuleType | property):
        return False
    if callable(static) or isinstance(static, MARKABLE):
        home = plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__module__
        # `from subprocess import run` is no hook; `from ._internal import run` was meant to be one.
        return _package(getattr(_underlying(static), "__module__", None)) == _package(home)
    return hook in CONSTANTS or type(static).__name__ in ("CollectorOptions", "MetaData")


def _package(module: object) -> str:
    return str(module).partition(".")[0]


def _problems(plugin: object, one: Implementation) -> Iterator[str]:
    """What is wrong with one marked function."""
    if one.hook not in HOOKS:
        if not one.options.get("optionalhook"):
            near = did_you_mean(one.hook, HOOKS) or f"; the hooks are {', '.join(HOOKS)}"
            yield f"{_at(one)}: there is no hook {one.hook!r}{near}"
    elif _lacks_self(plugin, one):
        yield f"{_at(one)} is a method without self; add self as its first parameter, or @staticmethod"
    else:
        for parameter in inspect.signature(one.function).parameters.values():
            if problem := _parameter_problem(parameter, HOOKS[one.hook]):
                yield f"{_at(one)}: {problem}"
        yield from _generator_problems(one)


def _lacks_self(plugin: object, one: Implementation) -> bool:
    static = inspect.getattr_static(plugin, one.attribute)
    if not isinstance(static, FunctionType) or static is one.function:
        return False
    first = next(iter(inspect.signature(static).parameters), None)
    return first is None or first in HOOKS[one.hook]


def _parameter_problem(parameter: inspect.Parameter, allowed: tuple[str, ...]) -> str | None:
    name = parameter.name
    known = ", ".join(allowed) if allowed else "none"
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        shown = str(parameter).partition(":")[0]
        return f"{shown} would stay empty; name the parameters you want (allowed: {known})"
    if name not in allowed:
        return f"unknown parameter {name!r}{did_you_mean(name, allowed)} (allowed: {known})"
    if parameter.kind is parameter.KEYWORD_ONLY:
        return f"parameter {name!r} is keyword-only; remove the * before it"
    if parameter.default is not parameter.empty:
        return f"parameter {name!r} has a default, which pluggy would use instead of the value; remove it"
    return None


def _generator_problems(one: Implementation) -> Iterator[str]:
    function = inspect.unwrap(one.function)
    generates = inspect.isgeneratorfunction(function)
    if one.wraps and not generates:
        yield f"{_at(one)} is a wrapper without yield; write `result = yield` and return the result"
    if inspect.isasyncgenfunction(function) or (generates and not one.wraps):
        cure = "write rows through db and return their number" if one.hook == "run" else "return the value"
        yield f"{_at(one)} is a generator, whose body would never run; remove yield, {cure}"
