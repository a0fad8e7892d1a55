"""In which line of a TOML text a key stands; ``tomllib`` does not say (floor: cli, pure)."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

AT_LINE = re.compile(r"\s*\(at line (\d+), column \d+\)$")
AT_END = re.compile(r"\s*\(at end of document\)$")
LONG_NUMBER = re.compile(r"[0-9_]{1000}")
# What a bracket or the end of a line may stand in without being one, each whole; in this order.
TOKEN = re.compile(
    r'''"""(?:\\[\s\S]|[^\\])*?"{3,5}(?!")|"(?:\\.|[^"\\\n])*"|'''
    r"""'{3}[\s\S]*?'{3,5}(?!')|'[^'\n]*'|#[^\n]*|"""
    r"(?P<opens>[\[{])|(?P<closes>[\]}])|(?P<ends>\n)"
)
Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """The first line of each key and table."""

    known: Mapping[Place, int]

    def of(self, place: Place) -> int:
        """The line of ``place``, else of the nearest table around it."""
        while place and place not in self.known:
            place = place[:-1]
        return self.known.get(place, 1)


def error_line(error: Exception, text: str) -> tuple[int, str]:
    """The line and the text of a syntax error; what a parser says of duplicates, in words."""
    if isinstance(error, RecursionError):
        return 1, "not valid TOML: is nested too deeply"
    if not isinstance(error, tomllib.TOMLDecodeError):
        number = LONG_NUMBER.search(text)
        line = text.count("\n", 0, number.start()) + 1 if number else 1
        return line, "not valid TOML: a number is too long; write the value in quotes"
    message = str(error)
    found = AT_LINE.search(message)
    line = int(found.group(1)) if found else text.count("\n") + 1 if AT_END.search(message) else 1
    message = AT_END.sub("", AT_LINE.sub("", message))
    if re.search(r"overwrite|twice|already|[Dd]uplicate", message):
        return line, f"this key or table stands in the file a second time ({message})"
    return line, f"not valid TOML: {message}"


def lines_of(text: str) -> Lines:
    """The lines of all keys of a TOML text that is valid."""
    known: dict[Place, int] = {}
    table: Place = ()
    for line, statement in _statements(text):
        parsed = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table = tuple(_header(parsed))
            for depth in range(1, len(table) + 1):
                known.setdefault(table[:depth], line)
        else:
            for place in _places(parsed):
                known.setdefault((*table, *place), line)
    return Lines(known)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each header and each ``key = value`` with the number of its first line."""
    first, line, start, depth = 1, 1, 0, 0
    for token in TOKEN.finditer(text + "\n"):
        kind = token.lastgroup
        depth += (kind == "opens") - (kind == "closes")
        line += token.group().count("\n")
        if kind == "ends" and depth == 0:
            statement = text[start : token.end()]
            if statement.strip() and not statement.lstrip().startswith("#"):
                yield first, statement
            first, start = line, token.end()


def _header(parsed: Any) -> Iterator[str]:
    while parsed:
        if isinstance(parsed, list):
            parsed = parsed[0]
            continue
        (name, parsed), *_ = parsed.items()
        yield name


def _places(parsed: Any) -> Iterator[Place]:
    if isinstance(parsed, dict):
        for name, value in parsed.items():
            yield (name,)
            yield from ((name, *place) for place in _places(value))
