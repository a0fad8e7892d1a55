"""``run``: one pass, with progress, and a graceful end on SIGINT and SIGTERM (floor: cli)."""

from contextlib import nullcontext
from typing import TYPE_CHECKING

import typer

from tenantcollect.cli.options import (
    Concurrency,
    Executor,
    ExitZero,
    Grace,
    Json,
    LeaseTtl,
    Many,
    MaxDuration,
    MaxWindows,
    OnlyScripts,
    OnlySources,
    OnlyTenants,
    Quiet,
    RetryDelay,
    WindowTimeout,
)
from tenantcollect.cli.target import database_of, target_of

if TYPE_CHECKING:
    from tenantcollect.orchestrator import Orchestrator
    from tenantcollect.reports import PassReport

BUILT_BY_THE_APP = ("concurrency", "executor", "lease_ttl", "retry_delay", "window_timeout", "grace")


def run(
    context: typer.Context,
    tenant: OnlyTenants = None,
    data_source: OnlySources = None,
    script: OnlyScripts = None,
    max_windows: MaxWindows = None,
    max_duration: MaxDuration = None,
    exit_zero: ExitZero = False,
    concurrency: Concurrency = None,
    executor: Executor = None,
    lease_ttl: LeaseTtl = None,
    retry_delay: RetryDelay = None,
    window_timeout: WindowTimeout = None,
    grace: Grace = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run one pass: collect all that is due."""
    from tenantcollect.cli.printing import print_object
    from tenantcollect.cli.selecting import require_some, tell_if_nothing_is_configured
    from tenantcollect.settings import Settings

    _refuse_with_app(context)
    settings = Settings.given(
        concurrency=concurrency,
        lease_ttl=lease_ttl,
        retry_delay=retry_delay,
        window_timeout=window_timeout,
        grace=grace,
    )
    target = target_of(context)
    chosen = (tenant, data_source, script)
    with target.orchestrator(executor=executor, settings=settings) as orchestrator:
        report = run_pass(orchestrator, chosen, max_windows, max_duration, show=not (quiet or json))
        if json:
            print_object(database_of(orchestrator), report)
        if not report.keys and not report.error:
            require_some(orchestrator, chosen)
        if not json:
            _print(database_of(orchestrator), report, f"{target.command} explain")
            if not report.keys and not report.error:
                tell_if_nothing_is_configured(orchestrator)
    if code := exit_code(report, exit_zero):
        raise typer.Exit(code)


def run_pass(
    orchestrator: "Orchestrator",
    chosen: tuple[Many, Many, Many] = (None, None, None),
    max_windows: int | None = None,
    max_duration: float | None = None,
    *,
    show: bool,
) -> "PassReport":
    """One pass that signals can stop, with its progress on stderr if ``show``."""
    from tenantcollect.cli.progress import progress
    from tenantcollect.cli.stopping import stoppable

    def total() -> int:
        return sum(row.windows_left for row in orchestrator.plan(*chosen))

    shown = progress(orchestrator, total) if show else nullcontext()
    with stoppable(orchestrator), shown:
        return orchestrator.run(*chosen, max_windows=max_windows, max_duration=max_duration)


def exit_code(report: "PassReport", exit_zero: bool = False) -> int:
    """4 if the database went away, 3 if someone must act, else 0."""
    from tenantcollect.cli import failures

    if report.error:
        failures.complain(report.error)
        return failures.UNUSABLE_DATABASE
    return failures.NEEDS_ACTION if report.needs_action and not exit_zero else failures.DONE


def _refuse_with_app(context: typer.Context) -> None:
    """An option that only ``connect`` could take is refused beside --app: ignoring it would be a lie.

    Of the environment, which may be meant for other commands too, it is only said.
    """
    from tenantcollect.cli.printing import note

    if target_of(context).app is None:
        return
    for name in BUILT_BY_THE_APP:
        source = context.get_parameter_source(name)
        told = f"{name.replace('_', '-')} has no effect with --app: set it where the app connects"
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"--{told}", ctx=context)
        if source is not None and source.name == "ENVIRONMENT":
            note(f"note: TENANTCOLLECT_{name.upper()}: {told}")


def _print(database: str, report: "PassReport", why: str) -> None:
    from tenantcollect.cli import tables
    from tenantcollect.cli.printing import print_table, say

    if report.keys:
        print_table(database, "run", tables.PASS, report.keys)
    else:
        say(f"run · {database}", style="bold")
    say(tables.summary(report))
    if report.needs_action:
        say(f"what to do: {why}")
