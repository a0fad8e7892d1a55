"""``db upgrade``, ``db current``, ``db sql`` (floor: cli)."""

from typing import TYPE_CHECKING

import typer

from tenantcollect.cli.options import DryRun, Json
from tenantcollect.cli.target import target_of

if TYPE_CHECKING:
    from tenantcollect.orchestrator import Orchestrator
    from tenantcollect.schema import Schema

commands = typer.Typer(help="Look after the tables.", rich_markup_mode=None, no_args_is_help=True)


@commands.command()
def upgrade(context: typer.Context, dry_run: DryRun = False, json: Json = False) -> None:
    """Bring the tables to the newest revision; makes the SQLite file if there is none."""
    from tenantcollect.cli.printing import print_object, say

    with target_of(context).orchestrator(create=True) as orchestrator:
        schema = _schema(orchestrator)
        before, newest = schema.current(), schema.newest()
        made = schema.upgrade(orchestrator.registry.tables(), dry_run=dry_run)
        database = schema.described()
    if json:
        print_object(database, {"before": before, "newest": newest, "tables": list(made), "dry_run": dry_run})
        return
    if before == newest:
        say(f"{database} is at revision {newest} already")
    else:
        say(f"{database}: {'would go' if dry_run else 'went'} from {before or 'nothing'} to revision {newest}")
    if made:
        say(f"tables of collectors that {'would be' if dry_run else 'were'} made: {', '.join(made)}")


@commands.command()
def current(context: typer.Context, json: Json = False) -> None:
    """Show the revision of the tables; exit with 4 if it is not the newest."""
    from tenantcollect.cli.failures import UNUSABLE_DATABASE
    from tenantcollect.cli.printing import note, print_object, say

    with target_of(context).orchestrator() as orchestrator:
        schema = _schema(orchestrator)
        database, at, newest = schema.described(), schema.current(), schema.newest()
    if json:
        print_object(database, {"current": at, "newest": newest})
    else:
        say(f"{database} is at revision {at or 'none'}; the newest is {newest}")
    if at != newest:
        newer = "" if at is None else "; if a newer version of tenantcollect made the tables, install that one"
        note(f"run: tenantcollect db upgrade{newer}")
        raise typer.Exit(UNUSABLE_DATABASE)


@commands.command()
def sql(context: typer.Context, json: Json = False) -> None:
    """Print the statements of an upgrade from nothing, for a person to run."""
    import sys

    from tenantcollect.cli.printing import print_object

    with target_of(context).orchestrator(create=True) as orchestrator:  # asks nothing, so no file is made
        schema = _schema(orchestrator)
        database, statements = schema.described(), schema.sql()
    if json:
        print_object(database, {"sql": statements})
    else:
        sys.stdout.write(statements.rstrip() + "\n")


def _schema(orchestrator: "Orchestrator") -> "Schema":
    from tenantcollect.errors import ConfigurationError

    if orchestrator.schema is None:
        raise ConfigurationError("the app keeps its state elsewhere: there are no tables of ours to look after")
    return orchestrator.schema
