"""Finds the orchestrator that a host's app builds: ``module:attribute`` (floor: apps)."""

import sys
import traceback
from importlib import import_module
from typing import Any

from tenantcollect.errors import ConfigurationError, TenantcollectError
from tenantcollect.orchestrator import Orchestrator

__all__ = ["from_app"]


def from_app(name: str) -> Orchestrator:
    """The orchestrator at ``module:attribute``, or the one a callable there returns.

    Modules in the current directory can be imported. Raises :class:`ConfigurationError`.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ConfigurationError(f"app {name!r} is not of the form module:attribute, such as myapp.sync:orchestrator")
    found = _attribute(name, _imported(name, module), attribute)
    if not isinstance(found, Orchestrator) and callable(found):
        found = _called(name, found)
    if not isinstance(found, Orchestrator):
        raise ConfigurationError(
            f"app {name!r} is a {type(found).__name__}; it must be a tenantcollect.Orchestrator, "
            "or a callable that returns one"
        )
    return found


def _imported(name: str, module: str) -> Any:
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return import_module(module)
    except TenantcollectError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"app {name!r} cannot be imported: {_told(error)}") from error


def _attribute(name: str, module: Any, attribute: str) -> Any:
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(f"app {name!r}: there is no {part!r} in {getattr(found, '__name__', found)!r}")
        found = getattr(found, part)
    return found


def _called(name: str, build: Any) -> Any:
    try:
        return build()
    except TenantcollectError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"app {name!r} cannot be built: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """The error in one line, with the place it was raised at."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
