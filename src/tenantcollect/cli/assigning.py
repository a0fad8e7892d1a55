"""Reads ``KEY=VALUE`` words and checks them before anything is stored (floor: cli)."""

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from tenantcollect.catalog import LARGEST_ENV
from tenantcollect.errors import ConfigurationError, PluginError
from tenantcollect.keys import checked_name

if TYPE_CHECKING:
    from tenantcollect.orchestrator import Orchestrator

FROM_INPUT = "-"


def assignments(words: Sequence[str], secrets: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The env that ``words`` set, and the keys whose value stood on the command line.

    Raises :class:`ConfigurationError` by the number of the word: a word without ``=`` may be a secret itself.
    """
    env: dict[str, str] = {}
    for number, word in enumerate(words, start=1):
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise ConfigurationError(f"word {number} of KEY=VALUE has no key or no '='")
        if value and not value.strip("="):  # the end of a token in base64
            raise ConfigurationError(f"word {number} of KEY=VALUE has nothing but '=' as its value")
        if key in env:
            raise ConfigurationError(f"{key} is given twice")
        env[key] = value
    spoken = [key for key, value in env.items() if value not in (FROM_INPUT, "")]
    read = [key for key, value in env.items() if value == FROM_INPUT]
    if len(read) > 1:
        raise ConfigurationError(f"only one value can come from standard input, not those of {' and '.join(read)}")
    for key in set(secrets) - set(env):
        _require_alone(key, "--secret")
        raise ConfigurationError(f"--secret {key}: no {key}=VALUE is given{near(key, env)}")
    return env | {key: _input(key) for key in read}, spoken


def _require_alone(key: str, what: str) -> None:
    """Refuse a ``KEY=VALUE`` where a key is asked for, without its value."""
    name, equals, _ = key.partition("=")
    if equals:
        raise ConfigurationError(f"{what} takes the key alone: {what} {name}")


def _input(key: str) -> str:
    """A value from standard input, without its last line break; asked for, and not shown, on a terminal."""
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass(f"{key}: ")
    raw = sys.stdin.buffer.read(LARGEST_ENV + 1)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{key}: standard input is not UTF-8 text", fields={key: "not UTF-8"}) from None
    if not text.strip():
        raise ConfigurationError(f"{key}: standard input is empty", fields={key: "standard input is empty"})
    return text.removesuffix("\n").removesuffix("\r")


def require_installed(orchestrator: "Orchestrator", data_source: str) -> None:
    """Raise :class:`ConfigurationError`, with a near match, if there is no such data source; not if it is broken."""
    registry = orchestrator.registry
    if checked_name(data_source, "data_source") in registry.data_sources():
        return
    try:
        registry.require(data_source)
    except PluginError as error:
        raise ConfigurationError(f"{error}; see: tenantcollect plugins") from None


def known_keys(stored: Mapping[str, str], keys: Sequence[str] | None, source: str) -> list[str]:
    """``keys``, or all that are stored if there are none.

    Raises :class:`ConfigurationError` for one that is not stored, with a near match.
    """
    for key in keys or ():
        if key not in stored:
            _require_alone(key, "unset")
            raise ConfigurationError(f"{source} has no {key}{near(key, stored)}")
    return list(keys or stored)


def near(name: str, known: Collection[str]) -> str:
    """``; did you mean …?``, if there is a near match."""
    found = get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]}?" if found else ""
