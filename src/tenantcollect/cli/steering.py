"""Changes when and what is collected: trigger, pause, resume, backfill, replay (floor: cli)."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from tenantcollect.cli.options import (
    DataSource,
    DryRun,
    End,
    Json,
    Since,
    SomeScript,
    SomeSource,
    Start,
    Tenant,
    Until,
)
from tenantcollect.cli.target import database_of, target_of

if TYPE_CHECKING:
    from tenantcollect.cli.selecting import Chosen
    from tenantcollect.keys import Key
    from tenantcollect.orchestrator import Orchestrator


def trigger(
    context: typer.Context,
    tenant: Tenant,
    data_source: SomeSource = None,
    script: SomeScript = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make keys due now; the next pass runs them."""
    chosen = (tenant, data_source, script)
    _change(context, "due now", chosen, lambda o: o.trigger(*chosen, dry_run=dry_run), dry_run, json)


def pause(
    context: typer.Context,
    tenant: Tenant,
    data_source: SomeSource = None,
    script: SomeScript = None,
    until: Until = None,
    detail: Annotated[str, typer.Option(help="Why; shown by explain.", metavar="TEXT")] = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Stop collecting, until a time or until resume."""

    def change(orchestrator: "Orchestrator") -> "Iterable[Key]":
        return orchestrator.pause(tenant, data_source, script, until=until, detail=detail, dry_run=dry_run)

    _change(context, "paused", (tenant, data_source, script), change, dry_run, json)


def resume(
    context: typer.Context,
    tenant: Tenant,
    data_source: SomeSource = None,
    script: SomeScript = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Lift what holds keys back, such as a pause."""
    chosen = (tenant, data_source, script)

    def change(orchestrator: "Orchestrator") -> "Iterable[Key]":
        keys = orchestrator.resume(*chosen, dry_run=dry_run)
        _tell_held(orchestrator, chosen, keys)
        return keys

    _change(context, "resumed", chosen, change, dry_run, json)


def _tell_held(orchestrator: "Orchestrator", chosen: "Chosen", resumed: "Iterable[Key]") -> None:
    from tenantcollect.cli.printing import note
    from tenantcollect.keys import Key
    from tenantcollect.policy import LIFTED

    free = set(resumed)
    for row in orchestrator.explain(*chosen):
        key = Key(row.tenant_id, row.data_source, row.script)
        if row.reason in LIFTED and key not in free:
            note(f"{key} stays held ({row.reason}), together with its data source: {row.action or 'until it ends'}")


def backfill(
    context: typer.Context,
    tenant: Tenant,
    data_source: DataSource,
    since: Since,
    script: SomeScript = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Collect older data too, from a time on."""

    def change(orchestrator: "Orchestrator") -> "Iterable[Key]":
        return orchestrator.backfill(tenant, data_source, script, since=since, dry_run=dry_run)

    _change(context, "begins earlier", (tenant, data_source, script), change, dry_run, json)


def replay(
    context: typer.Context,
    tenant: Tenant,
    data_source: DataSource,
    script: SomeScript = None,
    start: Start = None,
    end: End = None,
    dependents: Annotated[bool, typer.Option(help="Also replay what depends on it.")] = True,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Collect a range again; no row is deleted."""

    def change(orchestrator: "Orchestrator") -> "Iterable[Key]":
        return orchestrator.replay(
            tenant, data_source, script, start=start, end=end, dependents=dependents, dry_run=dry_run
        )

    _change(context, "collected again", (tenant, data_source, script), change, dry_run, json)


def _change(
    context: typer.Context,
    done: str,
    chosen: "Chosen",
    change: "Callable[[Orchestrator], Iterable[Key]]",
    dry_run: bool,
    json: bool,
) -> None:
    from tenantcollect.cli.printing import note, print_json_rows, print_table
    from tenantcollect.cli.selecting import require_some
    from tenantcollect.cli.tables import KEYS

    with target_of(context).orchestrator() as orchestrator:
        database = database_of(orchestrator)
        keys = list(change(orchestrator))
        if json:
            print_json_rows(database, keys)
        if not keys:
            require_some(orchestrator, chosen)
    if keys and not json:
        print_table(database, f"would be {done}" if dry_run else done, KEYS, keys)
    elif not json:
        note("no key would be changed" if dry_run else "no key was changed")
