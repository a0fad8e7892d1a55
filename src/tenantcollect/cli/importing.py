"""Reads the file of ``config import``: strict, every problem with its line, never a value (floor: cli)."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tenantcollect.catalog import checked_env
from tenantcollect.cli.locating import Lines, error_line, lines_of
from tenantcollect.errors import ConfigurationError
from tenantcollect.keys import checked_name, checked_tenant
from tenantcollect.secrets import Secret

LARGEST_FILE = 1024 * 1024
MARKS = ("secret", "secret_env")
VARIABLE = re.compile("[A-Z_][A-Z0-9_]*")
"""What is named in an error: anything else may be the secret itself."""
Place = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """One config value of the file; its repr does not show it."""

    text: str = field(repr=False)
    secret: bool
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceTable:
    """One ``[tenant.T.S]`` table."""

    tenant_id: str
    data_source: str
    line: int
    values: Mapping[str, Value]

    @property
    def env(self) -> dict[str, str]:
        """The values by key."""
        return {key: value.text for key, value in self.values.items()}

    @property
    def marked(self) -> dict[str, str | Secret]:
        """The values by key, those that the file marks as secret as such."""
        return {key: Secret(value.text) if value.secret else value.text for key, value in self.values.items()}

    @property
    def secrets(self) -> list[str]:
        """The keys that the file marks as secret."""
        return [key for key, value in self.values.items() if value.secret]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What is wrong, and in which line."""

    line: int
    text: str


def read(file: Path) -> str:
    """The text of the file, without a byte order mark.

    Raises :class:`ConfigurationError` if it cannot be read, is larger than 1 MiB, or is not UTF-8.
    """
    try:
        with file.open("rb") as stream:
            raw = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({error.strerror})") from None
    if len(raw) > LARGEST_FILE:
        raise ConfigurationError(f"{file}: is larger than 1 MiB; split it into several files")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigurationError(f"{file}:1: is UTF-16; save it as UTF-8")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{file}:{line}: is not UTF-8 text") from None


def parse(text: str, environment: Mapping[str, str]) -> tuple[list[SourceTable], list[Problem]]:
    """The tables of the file, and all problems of those that are wrong."""
    try:
        document, lines = tomllib.loads(text), lines_of(text)
    except (ValueError, RecursionError) as error:  # not all that it refuses it calls a TOMLDecodeError
        return [], [Problem(*error_line(error, text))]
    reader = _Reader(lines, environment)
    tables = list(reader.tables(document))
    return tables, sorted(reader.problems)


@dataclass(slots=True)
class _Reader:
    lines: Lines
    environment: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, place: Place, text: str) -> None:
        self.problems.append(Problem(self.lines.of(place), text))

    def tables(self, document: Mapping[str, Any]) -> Iterator[SourceTable]:
        for name, tenants in document.items():
            if name != "tenant":
                self.wrong((name,), f"unknown key {name!r}{_near(name, ['tenant'])}; tables are [tenant.T.SOURCE]")
            elif self._is_table(("tenant",), tenants):
                yield from self._tenants(tenants)

    def _tenants(self, tenants: Mapping[str, Any]) -> Iterator[SourceTable]:
        seen: dict[str, str] = {}
        for name, sources in tenants.items():
            place = ("tenant", name)
            if not self._is_table(place, sources):
                continue
            try:
                tenant_id = checked_tenant(name)
            except ConfigurationError as error:
                self.wrong(place, f"{name!r}: {error}")
                continue
            if tenant_id in seen:
                self.wrong(place, f"the tenant {name!r} stands here a second time, written in another way")
                continue
            seen[tenant_id] = name
            for source, values in sources.items():
                yield from self._source((*place, source), tenant_id, values)

    def _source(self, place: Place, tenant_id: str, values: Any) -> Iterator[SourceTable]:
        if not self._is_table(place, values):
            return
        try:
            data_source = checked_name(place[-1], "data_source")
        except ConfigurationError as error:
            self.wrong(place, str(error))
            return
        found = {key: self._value((*place, key), value) for key, value in values.items()}
        good = {key: value for key, value in found.items() if value is not None}
        each = [self._storable((*place, key), {key: value.text}) for key, value in good.items()]
        if all(each) and self._storable(place, {key: value.text for key, value in good.items()}):
            line = self.lines.of(place)
            yield SourceTable(tenant_id=tenant_id, data_source=data_source, line=line, values=good)

    def _storable(self, place: Place, env: Mapping[object, object]) -> bool:
        try:
            checked_env(env)
        except ConfigurationError as error:
            self.wrong(place, str(error))
            return False
        return True

    def _is_table(self, place: Place, value: Any) -> bool:
        if not isinstance(value, dict):
            self.wrong(place, f'{".".join(place)!r} must be a table: [tenant.T.SOURCE], then KEY = "value"')
        return isinstance(value, dict)

    def _value(self, place: Place, value: Any) -> Value | None:
        line = self.lines.of(place)
        if isinstance(value, str):
            return Value(text=value, secret=False, line=line)
        if isinstance(value, dict):
            text = self._secret(place, value)
            return None if text is None else Value(text=text, secret=True, line=line)
        self.wrong(place, f"{place[-1]} must be a text; write the value in quotes")
        return None

    def _secret(self, place: Place, mark: Mapping[str, Any]) -> str | None:
        key = place[-1]
        misspelt = {name: near for name in mark if name not in MARKS and (near := _near(name, MARKS))}
        for name, near in misspelt.items():
            self.wrong((*place, name), f"{key}: unknown key {name!r}{near}")
        if misspelt:
            return None
        if len(mark) != 1 or not set(mark) <= set(MARKS) or not isinstance(next(iter(mark.values())), str):
            self.wrong(place, f'{key} must be a text, {{ secret = "…" }} or {{ secret_env = "VARIABLE" }}')
            return None
        if "secret" in mark:
            return str(mark["secret"])
        variable = str(mark["secret_env"])
        if variable not in self.environment:
            named = VARIABLE.fullmatch(variable) is not None
            unset = f"the environment variable {variable!r} is not set"
            self.wrong(place, f"{key}: {unset if named else 'secret_env must be the NAME of a variable'}")
        return self.environment.get(variable)


def _near(name: str, known: Any) -> str:
    near = get_close_matches(name.casefold(), known, n=1)
    return f", did you mean {near[0]!r}?" if near else ""
