"""Checks what hooks return; every refusal names the hook and what it must return (floor: registry)."""

from datetime import timedelta
from typing import TYPE_CHECKING

from tenantcollect.collectors import LONGEST_DURATION, CollectorOptions, checked_duration
from tenantcollect.configuration import config_schema
from tenantcollect.errors import ConfigurationError, PluginError
from tenantcollect.keys import checked_name

if TYPE_CHECKING:
    from pydantic import BaseModel
    from sqlalchemy import MetaData

__all__ = ["config", "dependencies", "import_window_duration", "options", "provides", "tables"]


def provides(value: object) -> tuple[str, ...]:
    """The resources, each once. Raises :class:`PluginError`."""
    return _names(value, "provides")


def dependencies(value: object) -> tuple[str, ...]:
    """The resources, each once; ``source:resource`` is explicit. Raises :class:`PluginError`."""
    return _names(value, "dependencies")


def _names(value: object, hook: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise PluginError(f"{hook}() must return a list of names, not {_kind(value)}")
    for name in value:
        source, explicit, resource = name.rpartition(":") if isinstance(name, str) else ("", "", name)
        try:
            checked_name(resource, f"a name in {hook}()")
            if explicit and hook == "dependencies":
                checked_name(source, f"the data source in {hook}()")
        except ConfigurationError as error:
            raise PluginError(str(error)) from None
        if explicit and hook != "dependencies":
            raise PluginError(f"{hook}() must return bare names; write {resource!r}, not {name!r}")
    return tuple(dict.fromkeys(value))


def import_window_duration(value: object) -> timedelta | None:
    """The longest window; None = one per unbroken piece. Raises :class:`PluginError`, naming the bound."""
    if value is None:
        return None
    try:
        return checked_duration(
            value, "import_window_duration()", least=timedelta(microseconds=1), most=LONGEST_DURATION
        )
    except ValueError as error:
        raise PluginError(f"{error}; None = one window per unbroken piece") from None


def options(value: object) -> CollectorOptions:
    """The options. Raises :class:`PluginError`."""
    if not isinstance(value, CollectorOptions):
        raise PluginError(f"options() must return a CollectorOptions, not {_kind(value)}")
    return value


def config(value: object) -> "type[BaseModel]":
    """The model of the env keys. Raises :class:`PluginError`, also for one that would read other envs."""
    from pydantic import BaseModel

    if not (isinstance(value, type) and issubclass(value, BaseModel)):
        raise PluginError(f"config() must return a pydantic model class, not {_kind(value)}")
    if any(base.__name__ == "BaseSettings" for base in value.__mro__):
        # It fills its fields from the process environment, which belongs to the host, not to a tenant (G4).
        raise PluginError("config() must return a BaseModel; BaseSettings would read the process's environment")
    try:
        config_schema(value)
    except Exception as error:  # pydantic's own, or that of a type of the plugin
        raise PluginError(f"config() returned a model without a JSON Schema: {error}") from error
    return value


def tables(value: object) -> "MetaData":
    """The tables. Raises :class:`PluginError`."""
    from sqlalchemy import MetaData

    if not isinstance(value, MetaData):
        raise PluginError(f"tables() must return a sqlalchemy.MetaData, not {_kind(value)}")
    return value


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
