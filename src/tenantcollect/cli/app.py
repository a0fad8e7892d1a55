"""The command line's tree: global options and commands (floor: cli). Imports nothing heavy."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tenantcollect import __version__
from tenantcollect.cli import checking, config, database, demo, encrypting, reading, running, steering
from tenantcollect.cli.target import DEFAULT_URL, URL_VARIABLE, target_of

GLOBAL = ("--database-url", "--app")


class Root(TyperGroup):
    """The command ``tenantcollect`` itself."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; one that is given a global option says where that belongs.

        Neither typer nor we raise anything in it that is no ``Exception``: a SystemExit is that of a plugin or a host.
        """
        try:
            return super().invoke(ctx)
        except Exception as error:
            option = getattr(error, "option_name", None)
            # By its name: typer does not export it.
            if type(error).__name__ == "NoSuchOption" and option in GLOBAL:
                told = f"{option} goes before the command: tenantcollect {option} … COMMAND"
                vars(error).update(message=told, possibilities=None)
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            from tenantcollect import errors, telling

            told = f"code that is not ours tried to end the command: {telling.told(error)}"
            raise errors.PluginError(told) from error


# Plain help and errors: rich costs more than all else in `--help`, and is kept for the tables.
app = typer.Typer(
    cls=Root, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True, add_completion=False
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tenantcollect {__version__}")
        raise typer.Exit


@app.callback()
def start(
    context: typer.Context,
    database_url: Annotated[
        str,
        typer.Option(envvar=URL_VARIABLE, metavar="URL", help="The database; @FILE reads it from a file."),
    ] = DEFAULT_URL,
    app: Annotated[
        str | None, typer.Option(metavar="MODULE:ATTRIBUTE", help="Your orchestrator, or what builds it.")
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback ends the command
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Collect every tenant's data sources without holes, in dependency order, fairly, with proof.

    Exit codes: 0 done; 2 the command line or its file is wrong; 3 some key failed or waits for someone;
    4 the database cannot be reached or its tables are not current; 1 a bug.
    """
    source = context.get_parameter_source("database_url")
    given = source is not None and source.name == "COMMANDLINE"
    target_of(context).choose(database_url, app, on_command_line=given)


app.command("demo")(demo.demo)
app.add_typer(database.commands, name="db")
config.commands.command("rotate-keys")(encrypting.rotate_keys)
app.add_typer(config.commands, name="config")
app.command("plugins")(reading.plugins)
app.command("plan")(reading.plan)
app.command("run")(running.run)
app.command("status")(reading.status)
app.command("history")(reading.history)
app.command("explain")(reading.explain)
app.command("check")(checking.check)
app.command("doctor")(reading.doctor)
app.command("trigger")(steering.trigger)
app.command("pause")(steering.pause)
app.command("resume")(steering.resume)
app.command("backfill")(steering.backfill)
app.command("replay")(steering.replay)
