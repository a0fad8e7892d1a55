"""The command check: asks the data sources in a child, and goes on in another where one is lost (floor: cli)."""

import json
import time
from collections.abc import Callable, Generator, Set
from contextlib import closing
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import typer

from tenantcollect.cli.options import CheckTimeout, Json, SomeSource, SomeTenant
from tenantcollect.cli.target import Target, database_of, target_of

if TYPE_CHECKING:
    from tenantcollect.cli.apart import Child, Say
    from tenantcollect.reports import CheckRow

    Said = str | tuple[str, str] | CheckRow | bool
    """The database; a data source that is asked now; its answer; True = no more of these, False = a child failed."""
    Ask = Callable[[Set[tuple[str, str]]], Generator["Said"]]

ALLOWANCE = 5.0
"""Seconds that an answer may be late: who waits for it in the child needs a moment to say so."""

Source = tuple[str, str]


def check(
    context: typer.Context,
    tenant: SomeTenant = None,
    data_source: SomeSource = None,
    check_timeout: CheckTimeout = None,
    json: Json = False,
) -> None:
    """Try the credentials; exit with 3 if any is refused."""
    from tenantcollect.cli import tables
    from tenantcollect.cli.failures import NEEDS_ACTION
    from tenantcollect.cli.printing import print_json_rows, print_table, watched
    from tenantcollect.inspection import CHECK_TIMEOUT
    from tenantcollect.reports import CheckRow

    target = target_of(context)
    refused: list[Any] = []
    within = CHECK_TIMEOUT if check_timeout is None else check_timeout
    ask = partial(_asked, target, tenant, data_source, within, json)
    with closing(_heard(target, ask, within) if target.whole else ask(frozenset())) as said:
        database = str(next(said))
        answers = (one for one in takewhile(lambda one: one is not True, said) if isinstance(one, CheckRow))
        rows = watched(answers, lambda row: not row.ok, refused)
        if json:
            print_json_rows(database, rows)
        else:
            print_table(database, "check", tables.CHECK, rows)
        for _ in said:
            pass  # what is wrong with the words of the command
    if refused:
        raise typer.Exit(NEEDS_ACTION)


def _asked(
    target: Target, tenant: str | None, data_source: str | None, within: float, json: bool, answered: Set[Source]
) -> "Generator[Said]":
    """Ask each data source that has not ``answered``."""
    from tenantcollect.cli.selecting import require_some, tell_if_nothing_is_configured

    with target.orchestrator() as orchestrator:
        yield database_of(orchestrator)
        some = bool(answered)
        for source in orchestrator.configured(tenant):
            asked = (source.tenant_id, source.data_source)
            if data_source in (None, source.data_source) and asked not in answered:
                some = True
                yield asked
                yield from orchestrator.check(*asked, timeout=within)
        if json:
            yield True  # a list without rows, before what is wrong
        if not some:
            require_some(orchestrator, (tenant, data_source, None))
            if not json:
                tell_if_nothing_is_configured(orchestrator)
        yield True


def _heard(target: Target, ask: "Ask", within: float) -> "Generator[Said]":
    """What ``ask`` says in a child; a check that hangs or ends it costs its own answer, and another child goes on.

    In the process of the command nothing of others runs. Raises :class:`TenantcollectError` where something else than
    a check ends a child, and :class:`typer.Exit` where one has told what is wrong.
    """
    from tenantcollect.cli.apart import apart
    from tenantcollect.errors import TenantcollectError
    from tenantcollect.reports import CheckRow

    answered: set[Source] = set()
    while True:
        last: Said = ""
        with apart(target, partial(_say_all, ask, answered)) as child:
            for last in map(_read, child.lines()):
                if not isinstance(last, str):
                    child.until = time.monotonic() + within + ALLOWANCE
                if isinstance(last, CheckRow):
                    answered.add((last.tenant_id, last.data_source))
                if last is not False:
                    yield last
            late = child.code is None
        if isinstance(last, tuple):
            answered.add(last)
            yield _lost(last, child, within if late else None)
        elif isinstance(last, bool):
            if child.code and not late:
                raise typer.Exit(child.code if child.code > 0 else 128 - child.code)
            return
        elif isinstance(last, str):
            raise TenantcollectError(f"code that is not ours ended the process ({child.how})")


def _say_all(ask: "Ask", answered: Set[Source], say: "Say") -> None:
    from tenantcollect.reports import as_json

    try:
        for said in ask(answered):
            say(json.dumps(as_json(said)))
    except BaseException:
        say(json.dumps(False))  # what is wrong is told as it is in any command
        raise


def _read(line: str) -> "Said":
    from tenantcollect.reports import CheckRow

    said = json.loads(line)
    if isinstance(said, dict):
        return CheckRow(**said)
    return tuple(said) if isinstance(said, list) else said


def _lost(asked: Source, child: "Child", within: float | None) -> "CheckRow":
    """The answer of a data source whose check took the child with it, or its time (``within``)."""
    from tenantcollect.inspection import unanswered

    what = f"the check of {'/'.join(asked)}"
    if within is None:
        told = f"{what} ended the process ({child.how}); only the command may do that"
        return unanswered(*asked, told, action="correct it: a check returns, or raises what is wrong")
    told = f"{what} did not end within {within:g} s, and could not be interrupted: its process was killed"
    return unanswered(*asked, told)
