"""Collect every customer's data from inside your own application.

This module is the whole public surface; everything below it that is not named here is private. Names are
imported when they are first used, so that ``import tenantcollect`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenantcollect.backends.sql import include_name as include_name
    from tenantcollect.catalog import Catalog as Catalog
    from tenantcollect.catalog import Source as Source
    from tenantcollect.ciphers import Cipher as Cipher
    from tenantcollect.collectors import CollectorOptions as CollectorOptions
    from tenantcollect.collectors import Context as Context
    from tenantcollect.compose import connect as connect
    from tenantcollect.errors import AuthenticationError as AuthenticationError
    from tenantcollect.errors import CipherKeyMissing as CipherKeyMissing
    from tenantcollect.errors import ConfigurationError as ConfigurationError
    from tenantcollect.errors import DatabaseReadOnly as DatabaseReadOnly
    from tenantcollect.errors import DatabaseUnavailable as DatabaseUnavailable
    from tenantcollect.errors import IsolationRefused as IsolationRefused
    from tenantcollect.errors import PluginError as PluginError
    from tenantcollect.errors import RateLimited as RateLimited
    from tenantcollect.errors import SchemaNotCurrent as SchemaNotCurrent
    from tenantcollect.errors import SecretUnreadable as SecretUnreadable
    from tenantcollect.errors import StorageError as StorageError
    from tenantcollect.errors import TenantcollectError as TenantcollectError
    from tenantcollect.errors import TransactionBroken as TransactionBroken
    from tenantcollect.errors import TryLater as TryLater
    from tenantcollect.errors import WindowCancelled as WindowCancelled
    from tenantcollect.errors import WindowTooLarge as WindowTooLarge
    from tenantcollect.events import HoldLifted as HoldLifted
    from tenantcollect.events import HoldPlaced as HoldPlaced
    from tenantcollect.events import KeyStale as KeyStale
    from tenantcollect.events import PassFinished as PassFinished
    from tenantcollect.events import PassStarted as PassStarted
    from tenantcollect.events import WindowCommitted as WindowCommitted
    from tenantcollect.events import WindowFailed as WindowFailed
    from tenantcollect.hookspecs import hookimpl as hookimpl
    from tenantcollect.keys import Key as Key
    from tenantcollect.orchestrator import Orchestrator as Orchestrator
    from tenantcollect.responses import raise_for_response as raise_for_response
    from tenantcollect.secrets import Secret as Secret
    from tenantcollect.windows import Window as Window
    from tenantcollect.writing import upsert as upsert

__version__ = "0.1.0"

_HOME = {
    "AuthenticationError": "errors",
    "Catalog": "catalog",
    "Cipher": "ciphers",
    "CipherKeyMissing": "errors",
    "CollectorOptions": "collectors",
    "ConfigurationError": "errors",
    "Context": "collectors",
    "DatabaseReadOnly": "errors",
    "DatabaseUnavailable": "errors",
    "HoldLifted": "events",
    "HoldPlaced": "events",
    "IsolationRefused": "errors",
    "Key": "keys",
    "KeyStale": "events",
    "Orchestrator": "orchestrator",
    "PassFinished": "events",
    "PassStarted": "events",
    "PluginError": "errors",
    "RateLimited": "errors",
    "SchemaNotCurrent": "errors",
    "Secret": "secrets",
    "SecretUnreadable": "errors",
    "Source": "catalog",
    "StorageError": "errors",
    "TenantcollectError": "errors",
    "TransactionBroken": "errors",
    "TryLater": "errors",
    "Window": "windows",
    "WindowCancelled": "errors",
    "WindowCommitted": "events",
    "WindowFailed": "events",
    "WindowTooLarge": "errors",
    "connect": "compose",
    "include_name": "backends.sql",
    "hookimpl": "hookspecs",
    "raise_for_response": "responses",
    "upsert": "writing",
}

__all__ = sorted(_HOME)  # noqa: PLE0605 - the table above is the one list of public names


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
