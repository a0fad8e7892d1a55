"""Finds the orchestrator that a host's app builds: ``module:attribute`` (floor: apps)."""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

from tenantcollect.errors import ConfigurationError, TenantcollectError
from tenantcollect.orchestrator import Orchestrator
from tenantcollect.telling import told

__all__ = ["checked_app", "from_app"]


def checked_app(name: object) -> tuple[str, str]:
    """The module and the attribute that ``module:attribute`` names. Raises :class:`ConfigurationError` for no such."""
    module, colon, attribute = name.partition(":") if isinstance(name, str) else ("", "", "")
    if not (module and colon and attribute):
        raise ConfigurationError(f"app {name!r} is not of the form module:attribute, such as myapp.sync:orchestrator")
    return module, attribute


T = TypeVar("T")


def from_app(name: str) -> Orchestrator:
    """The orchestrator at ``module:attribute``, or the one a callable there returns.

    Modules in the current directory can be imported. Raises :class:`ConfigurationError`, whatever the app raises.
    """
    module, attribute = checked_app(name)
    imported = _guarded(f"app {name!r} cannot be imported", partial(_imported, module))
    found = _attribute(name, imported, module, attribute)
    if not isinstance(found, Orchestrator) and callable(found):
        found = _guarded(f"app {name!r} cannot be built", found)
    if not isinstance(found, Orchestrator):
        raise ConfigurationError(
            f"app {name!r} is a {type(found).__name__}; it must be a tenantcollect.Orchestrator, "
            "or a callable that returns one"
        )
    return found


def _imported(module: str) -> Any:
    if "" not in sys.path:
        sys.path.insert(0, "")
    return import_module(module)


def _attribute(name: str, module: Any, path: str, attributes: str) -> Any:
    found = module
    for attribute in attributes.split("."):
        try:
            found = _guarded(f"app {name!r}: {attribute!r} cannot be read", partial(getattr, found, attribute))
        except ConfigurationError as error:
            if isinstance(error.__cause__, AttributeError):
                raise ConfigurationError(f"app {name!r}: there is no {attribute!r} in {path!r}") from error
            raise
        path = f"{path}.{attribute}"
    return found


def _guarded(what: str, call: Callable[[], T]) -> T:
    """What ``call`` returns. Whatever the host's code raises, and be it SystemExit, says what is wrong with the app."""
    try:
        return call()
    except (KeyboardInterrupt, TenantcollectError):
        raise
    except BaseException as error:
        raise ConfigurationError(f"{what}: {told(error)}") from error
