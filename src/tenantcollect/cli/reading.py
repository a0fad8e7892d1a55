"""The commands that only read: plan, status, history, explain, doctor, plugins (floor: cli)."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenantcollect.cli.options import Json, Limit, SomeScript, SomeSource, SomeTenant
from tenantcollect.cli.target import database_of, target_of

if TYPE_CHECKING:
    from tenantcollect.cli.printing import Column
    from tenantcollect.cli.selecting import Chosen
    from tenantcollect.orchestrator import Orchestrator

Source = Callable[["Orchestrator"], Iterable[Any]]
RECENT = 50
"""Attempts that ``history`` shows unless it is told how many."""


def plan(
    context: typer.Context,
    tenant: SomeTenant = None,
    data_source: SomeSource = None,
    script: SomeScript = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Show which windows are still to be collected, stalest key first."""
    from tenantcollect.cli import tables

    chosen = (tenant, data_source, script)
    _show(context, "plan", tables.PLAN, chosen, lambda o: o.plan(*chosen, limit=limit), json, limit)


def status(
    context: typer.Context,
    tenant: SomeTenant = None,
    data_source: SomeSource = None,
    script: SomeScript = None,
    limit: Limit = None,
    stale: Annotated[bool, typer.Option("--stale", help="Exit with 3 if any key is stale, shown or not.")] = False,
    json: Json = False,
) -> None:
    """Show where each key stands, stalest first."""
    from tenantcollect.cli import tables
    from tenantcollect.cli.failures import NEEDS_ACTION
    from tenantcollect.cli.printing import watched

    chosen = (tenant, data_source, script)
    found: list[Any] = []

    def rows(orchestrator: "Orchestrator") -> Iterable[Any]:
        every = orchestrator.status(*chosen, limit=None if stale else limit)
        return watched(every, lambda row: row.stale, found, limit)

    _show(context, "status", tables.STATUS, chosen, rows, json, limit, tables.troubles)
    if stale and found:
        raise typer.Exit(NEEDS_ACTION)


def history(
    context: typer.Context,
    tenant: SomeTenant = None,
    data_source: SomeSource = None,
    script: SomeScript = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Show the newest attempts, 50 unless told."""
    from tenantcollect.cli import tables

    chosen = (tenant, data_source, script)
    _show(context, "history", tables.HISTORY, chosen, lambda o: o.history(*chosen, limit=limit or RECENT), json, limit)


def explain(
    context: typer.Context,
    tenant: SomeTenant = None,
    data_source: SomeSource = None,
    script: SomeScript = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Say why each key runs or not, and what to do."""
    from tenantcollect.cli import tables

    chosen = (tenant, data_source, script)
    _show(context, "explain", tables.EXPLAIN, chosen, lambda o: o.explain(*chosen, limit=limit), json, limit)


def doctor(context: typer.Context, json: Json = False) -> None:
    """Examine the database, its roles and policies, the clock and the plugins.

    Exit with 3 if something needs somebody, with 4 if the database cannot be used.
    """
    from tenantcollect.cli import tables
    from tenantcollect.cli.environment import KEYS_VARIABLE, cipher_problem
    from tenantcollect.cli.failures import NEEDS_ACTION, UNUSABLE_DATABASE
    from tenantcollect.cli.printing import print_json_rows, print_table
    from tenantcollect.reports import FindingRow, Severity

    target, rows = target_of(context), []
    if not target.app and (problem := cipher_problem()):
        told = f"the cipher keys of {KEYS_VARIABLE} cannot be used: {problem}"
        action = f"correct {KEYS_VARIABLE}"
        rows = [FindingRow(topic="secrets", severity=Severity.PROBLEM, detail=told, action=action)]
        target.cipher = lambda: None
    with target.orchestrator(create=True) as orchestrator:  # a file that is not there is a finding
        database, rows = database_of(orchestrator), [*rows, *orchestrator.doctor()]
    if json:
        print_json_rows(database, rows)
    else:
        print_table(database, "doctor", tables.FINDINGS, rows)
    found = {row.severity for row in rows}
    if Severity.UNUSABLE in found:
        raise typer.Exit(UNUSABLE_DATABASE)
    if Severity.PROBLEM in found:
        raise typer.Exit(NEEDS_ACTION)


def plugins(context: typer.Context, json: Json = False) -> None:
    """Show the collectors found, and what failed to load or depends on nothing that is there; then exit with 3."""
    from tenantcollect.cli import tables
    from tenantcollect.cli.failures import NEEDS_ACTION
    from tenantcollect.cli.printing import print_json_rows, print_table, say

    target = target_of(context)
    with target.orchestrator(create=True) as orchestrator:  # asks no table, so no file is made
        rows, database = orchestrator.plugins(), database_of(orchestrator)
    if json:
        print_json_rows(database, rows)
    else:
        print_table(database, "plugins", tables.PLUGINS, [row for row in rows if not row.error])
        for row in rows:
            if problem := row.error or row.dependency_error:
                say(f"{row.name}: {problem}", style="red")
    if any(row.error or row.dependency_error for row in rows):
        raise typer.Exit(NEEDS_ACTION)


def _show(
    context: typer.Context,
    title: str,
    columns: "Sequence[Column]",
    chosen: "Chosen",
    read: Source,
    json: bool,
    limit: int | None = None,
    after: Callable[[Sequence[Any]], None] | None = None,
) -> None:
    from tenantcollect.cli.printing import LONGEST_TABLE, print_json_rows, print_table
    from tenantcollect.cli.selecting import require_some, tell_if_nothing_is_configured

    with target_of(context).orchestrator() as orchestrator:
        database = database_of(orchestrator)
        rows = iter(read(orchestrator))
        first = list(islice(rows, 1))
        if json:
            print_json_rows(database, chain(first, rows))
        if not first:
            require_some(orchestrator, chosen)
        if json:
            return
        printed = print_table(database, title, columns, chain(first, rows), limit or LONGEST_TABLE)
        if not first:
            tell_if_nothing_is_configured(orchestrator)
        if after:
            after(printed)
