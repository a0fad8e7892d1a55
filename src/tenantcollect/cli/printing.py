"""Prints rows as a table or as JSON; every text of others is escaped, markup is off (floor: cli)."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TextIO

from tenantcollect.cli.streams import out
from tenantcollect.secrets import one_line

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA_VERSION = 1
LONGEST_TABLE = 100
LONGEST_CELL = 300
NARROW = 80
WIDE = 240
"""Columns of a table that is not shown on a terminal: nobody wants a wrapped line in a file."""

ADVISED = re.compile(r"(?:^|(?<=[:→] ))tenantcollect(?= [a-z])")

Column = tuple[str, Callable[[Any], object]]


def console(stream: TextIO | None = None) -> "Console":
    """A console that takes every text as it is: no markup, no emoji codes, no guessed colours."""
    from rich.console import Console

    width = None if stream or "COLUMNS" in os.environ else _width(out())
    return Console(file=stream or out(), width=width, markup=False, emoji=False, highlight=False, legacy_windows=False)


def _width(stream: TextIO) -> int:
    """That of the terminal, which rich asks of other streams than this one."""
    if not stream.isatty():
        return WIDE
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return NARROW


def say(text: str = "", style: str | None = None) -> None:
    """One line on stdout, not wrapped, whatever is in ``text`` escaped."""
    console().print(one_line(advised(text)), style=style, soft_wrap=True)


def note(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(one_line(advised(text)) + "\n")


def advised(text: str) -> str:
    """``text`` with every command that it advises beginning as this one did, so that it means the same database.

    A command stands at the beginning, or behind a colon or an arrow. The JSON has the words of the library, which
    depend on nobody's command line.
    """
    begin = getattr(out(), "command", None)
    return ADVISED.sub(lambda _: begin(), text) if begin else text


def print_object(database: str, value: Any) -> None:
    """One JSON object on stdout."""
    from tenantcollect.reports import as_json

    whole = {"schema_version": SCHEMA_VERSION, "database": database, **as_json(value)}
    out().write(json.dumps(whole, indent=2) + "\n")


def print_json_rows(database: str, rows: Iterable[Any]) -> None:
    """The rows as ``{"schema_version", "database", "rows": [...]}``, one row per line, in bounded memory."""
    from tenantcollect.reports import as_json

    rows = iter(rows)
    first = list(islice(rows, 1))  # what fails at once fails before anything is printed
    stream = out()
    stream.write(f'{{"schema_version": {SCHEMA_VERSION}, "database": {json.dumps(database)}, "rows": [')
    for number, row in enumerate(chain(first, rows)):
        stream.write(("," if number else "") + "\n" + json.dumps(as_json(row)))
    stream.write("\n]}\n")


def print_table(
    database: str, title: str, columns: Sequence[Column], rows: Iterable[Any], at_most: int = LONGEST_TABLE
) -> list[Any]:
    """A table of the first rows, under a line that names the database; the rows it shows.

    All rows are read, also those that are not shown: whoever watches them has seen every one.
    """
    rows = iter(rows)
    printed = list(islice(rows, at_most))
    more = sum(1 for _ in rows)
    say(f"{title} · {database}", style="bold")
    if printed:
        console().print(_table(columns, printed))
    else:
        say("nothing to show")
    if more:
        note(
            f"only the first {at_most} of {at_most + more} are shown; --json shows all, words after the command choose"
        )
    return printed


def _table(columns: Sequence[Column], rows: Sequence[Any]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    texts = [[shown(value(row)) for _, value in columns] for row in rows]
    used = [index for index in range(len(columns)) if index == 0 or any(line[index] for line in texts)]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for index in used:
        numeric = all(isinstance(columns[index][1](row), int | float | timedelta | None) for row in rows)
        table.add_column(columns[index][0], justify="right" if numeric else "left", overflow="fold")
    for line in texts:
        table.add_row(*(Text(line[index]) for index in used))
    return table


def shown(value: object) -> str:
    """A value as a person reads it, in one safe line."""
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, tuple | list):
        return ", ".join(shown(item) for item in value)
    return one_line(advised(first_line(str(value))))


def first_line(text: str) -> str:
    """What fits a cell of an error with its frames; ``--json`` has all of it."""
    line = text.partition("\n")[0][:LONGEST_CELL]
    return line if line == text else f"{line} …"


def instant(moment: datetime) -> str:
    """``2026-11-23 22:59:11Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def duration(length: timedelta) -> str:
    """``3 d 4 h``: the two largest units that are not zero."""
    seconds = round(abs(length.total_seconds()))
    sign = "-" if length < timedelta() and seconds else ""
    parts = [f"{seconds // size % limit} {unit}" for unit, size, limit in UNITS if seconds // size % limit]
    return sign + (" ".join(parts[:2]) or "0 s")


UNITS = (("d", 86400, 10**9), ("h", 3600, 24), ("min", 60, 60), ("s", 1, 60))


def counted(number: int, noun: str) -> str:
    """``1 window``, ``2 windows``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def watched(
    rows: Iterable[Any], wanted: Callable[[Any], object], found: list[Any], at_most: int | None = None
) -> Iterator[Any]:
    """The first ``at_most`` rows, or all; the first one of all that is ``wanted`` is also put into ``found``."""
    for number, row in enumerate(rows):
        if not found and wanted(row):
            found.append(row)
        if at_most is None or number < at_most:
            yield row
