"""``config set``, ``list``, ``unset`` and ``import`` (floor: cli). No value that was given is ever shown."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from tenantcollect.cli.options import DataSource, DryRun, Json, SomeSource, SomeTenant, Tenant
from tenantcollect.cli.target import Target, database_of, target_of

if TYPE_CHECKING:
    from tenantcollect.cli.importing import Problem, SourceTable
    from tenantcollect.cli.tables import ChangeRow
    from tenantcollect.orchestrator import Orchestrator

commands = typer.Typer(help="Say what each tenant's data sources need.", rich_markup_mode=None, no_args_is_help=True)


@commands.command("set")
def set_(
    context: typer.Context,
    tenant: Tenant,
    data_source: DataSource,
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="KEY=- reads the value from standard input.", show_default=False),
    ] = None,
    secret: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Treat this key as secret; may be repeated.")
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Set config values of a tenant's data source, after checking them all.

    Without any, a data source that needs none is configured. Keys that the collector does not declare are secret.
    """
    from tenantcollect.cli.assigning import assignments, require_installed
    from tenantcollect.cli.tables import ChangeRow

    target = target_of(context)
    env, spoken = assignments(values or (), secret or ())
    target.hidden.extend(env.values())
    with _editable(target, dry_run) as orchestrator:
        require_installed(orchestrator, data_source)
        orchestrator.configure(tenant, data_source, env, secrets=secret or (), dry_run=dry_run)
        if not dry_run:
            _warn_of_spoken(orchestrator.config(tenant, data_source), spoken)
        row = ChangeRow(tenant_id=tenant, data_source=data_source, set=tuple(env), dry_run=dry_run)
        _changed(target, orchestrator, [row], json)


@commands.command("list")
def list_(
    context: typer.Context, tenant: SomeTenant = None, data_source: SomeSource = None, json: Json = False
) -> None:
    """Show what is configured; secret values as ***."""
    from tenantcollect.cli import tables
    from tenantcollect.cli.printing import print_json_rows, print_table
    from tenantcollect.cli.selecting import require_some

    with target_of(context).orchestrator() as orchestrator:
        sources = (s for s in orchestrator.configured(tenant) if data_source in (None, s.data_source))
        rows = (
            tables.source_row(s, orchestrator.config(s.tenant_id, s.data_source, unreadable=tables.UNREADABLE))
            for s in sources
        )
        first = list(islice(rows, 1))
        if json:
            print_json_rows(database_of(orchestrator), chain(first, rows))
        if not first:
            require_some(orchestrator, (tenant, data_source, None))
        if not json:
            print_table(database_of(orchestrator), "config", tables.SOURCES, chain(first, rows))


@commands.command()
def unset(
    context: typer.Context,
    tenant: Tenant,
    data_source: DataSource,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY", help="Without a key: the whole data source.")
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Forget config values, or a whole data source; its rows, state and history stay."""
    from tenantcollect.cli.assigning import known_keys
    from tenantcollect.cli.printing import print_json_rows
    from tenantcollect.cli.selecting import require_some
    from tenantcollect.cli.tables import ChangeRow
    from tenantcollect.errors import ConfigurationError

    target = target_of(context)
    with target.orchestrator() as orchestrator:
        try:
            require_some(orchestrator, (tenant, data_source, None))
        except ConfigurationError:
            if json:
                print_json_rows(database_of(orchestrator), ())
            raise
        removed = known_keys(orchestrator.config(tenant, data_source), keys, f"{tenant}/{data_source}")
        changes = dict.fromkeys(removed) if keys else {}
        if changes:
            orchestrator.configure(tenant, data_source, changes, dry_run=dry_run)
        elif not dry_run:
            orchestrator.disconnect(tenant, data_source)
        row = ChangeRow(tenant_id=tenant, data_source=data_source, removed=tuple(removed), dry_run=dry_run)
        _changed(target, orchestrator, [row], json)


@commands.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="Tables [tenant.T.SOURCE] of KEY = value.")],
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Set config values from a file, in one transaction: all of them, or none if anything is wrong."""
    import os

    from tenantcollect.cli import importing
    from tenantcollect.cli.tables import ChangeRow

    target = target_of(context)
    found, problems = importing.parse(importing.read(file), os.environ)
    target.hidden.extend(text for table in found for text in table.env.values())
    _refuse(file, problems)
    with _editable(target, dry_run) as orchestrator:
        _refuse(file, _invalid(orchestrator, found))
        if not dry_run:
            orchestrator.configure_all({(table.tenant_id, table.data_source): table.marked for table in found})
        rows = [
            ChangeRow(tenant_id=t.tenant_id, data_source=t.data_source, set=tuple(t.values), dry_run=dry_run)
            for t in found
        ]
        _changed(target, orchestrator, rows, json)


def _invalid(orchestrator: "Orchestrator", tables: "Iterable[SourceTable]") -> "Iterator[Problem]":
    """What the collectors say against the tables, each at the line of its key."""
    from tenantcollect.cli.importing import Problem
    from tenantcollect.errors import ConfigurationError

    for table in tables:
        try:
            orchestrator.configure(table.tenant_id, table.data_source, table.env, secrets=table.secrets, dry_run=True)
        except ConfigurationError as error:
            fields = error.fields or {"": str(error)}
            for key, problem in fields.items():
                line = table.values[key].line if key in table.values else table.line
                yield Problem(line, f"{key}: {problem}" if key else problem)


def _refuse(file: Path, problems: "Iterable[Problem]") -> None:
    from tenantcollect.cli.failures import USAGE, complain

    found = sorted(problems)
    for problem in found:
        complain(f"{file}:{problem.line}: {problem.text}")
    if found:
        sys.stderr.write("nothing was written\n")
        raise typer.Exit(USAGE)


@contextmanager
def _editable(target: Target, dry_run: bool) -> "Iterator[Orchestrator]":
    """The orchestrator, on tables that are made if the SQLite file is new; a dry run makes no file."""
    from tempfile import TemporaryDirectory

    if not target.missing:
        with target.orchestrator(create=True) as orchestrator:
            yield orchestrator
        return
    with TemporaryDirectory() as folder:
        instead = Target(url=f"sqlite:///{folder}/rehearsal.db") if dry_run else target
        with instead.orchestrator(create=True) as orchestrator:
            orchestrator.upgrade()
            yield orchestrator


def _warn_of_spoken(stored: dict[str, str], spoken: Iterable[str]) -> None:
    """A secret among the arguments stands in the list of processes and in the shell's history."""
    from tenantcollect.cli.printing import note
    from tenantcollect.secrets import MASK

    for key in spoken:
        if stored.get(key) == MASK:
            note(f"{key} is secret, and was given where other users of this machine can read it; use {key}=-")


def _changed(target: Target, orchestrator: "Orchestrator", rows: "list[ChangeRow]", json: bool) -> None:
    from tenantcollect.cli import tables
    from tenantcollect.cli.printing import note, print_json_rows, print_table, say

    database = target.url if target.missing else database_of(orchestrator)
    if json:
        print_json_rows(database, rows)
        return
    if not rows:
        note("there is nothing to change in it")
        return
    dry = any(row.dry_run for row in rows)
    print_table(database, "config, as it would be changed" if dry else "config changed", tables.CHANGES, rows)
    if not dry and any(row.set for row in rows):
        words = (quote(rows[0].tenant_id), rows[0].data_source) if len(rows) == 1 else ()
        say(" ".join(("next: tenantcollect check", *words)))
