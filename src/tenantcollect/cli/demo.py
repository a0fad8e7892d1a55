"""``demo``: the first five minutes, on a real git clone, through the public doors only (floor: cli)."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenantcollect.cli.options import Json, Quiet
from tenantcollect.cli.target import Target, database_of, target_of

if TYPE_CHECKING:
    from tenantcollect.orchestrator import Orchestrator
    from tenantcollect.reports import PassReport

SOURCE = "git"
WHOLE, BRANCH = "acme", "globex"
TABLES: Mapping[str, Sequence[str]] = {
    "repository": ("git_branch", "git_tag"),
    "commit": ("git_commit",),
    "contributor": ("git_contributor",),
}
"""The tables of each script of the bundled collectors, for counting what arrived."""


def demo(
    context: typer.Context,
    repo: Annotated[Path, typer.Option("--repo", metavar="PATH", help="A local git clone.")],
    database_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The same as before the command.", show_default=False)
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Collect a git clone for two tenants: start here."""
    from tenantcollect.cli.running import exit_code, run_pass
    from tenantcollect.errors import ConfigurationError

    target = target_of(context)
    if database_url is not None:
        target.choose(database_url, target.app, on_command_line=True)
    if target.app is not None:
        raise ConfigurationError("demo brings its own tenants and works without --app; give it a --database-url")
    envs, first = _envs(repo.resolve())
    with target.orchestrator(create=True) as orchestrator:
        orchestrator.upgrade()
        _configure(orchestrator, envs, first)
        if not json:
            _print_plan(orchestrator)
        report = run_pass(orchestrator, ([*envs], [SOURCE], None), show=not (quiet or json))
        _print_end(target, orchestrator, report, json)
    if code := exit_code(report):
        raise typer.Exit(code)


def _envs(repository: Path) -> tuple[dict[str, dict[str, str]], datetime]:
    """``acme`` sees the whole history, ``globex`` one branch; and when that history begins."""
    from tenantcollect.cli.repository import current_branch, first_commit_at

    first = first_commit_at(repository)
    seen = {WHOLE: "", BRANCH: current_branch(repository)}
    envs = {tenant: {"GIT_REPOSITORY": str(repository), "GIT_REFS": refs} for tenant, refs in seen.items()}
    return envs, first


def _configure(orchestrator: "Orchestrator", envs: Mapping[str, Mapping[str, str]], first: datetime) -> None:
    """Configure what is not there yet; a tenant that sees this repository already stays as it is.

    Raises :class:`ConfigurationError` if one of the tenants has another repository: its rows are not ours.
    """
    from tenantcollect.errors import ConfigurationError

    known = {tenant: orchestrator.config(tenant, SOURCE).get("GIT_REPOSITORY") for tenant in envs}
    for tenant, env in envs.items():
        if known[tenant] not in (None, env["GIT_REPOSITORY"]):
            raise ConfigurationError(
                f"the tenant {tenant!r} of {database_of(orchestrator)} collects another repository; "
                "give the demo a database of its own with --database-url"
            )
    since = _since(orchestrator, first)
    for tenant, env in envs.items():
        if known[tenant] is None:
            orchestrator.configure(tenant, SOURCE, env, since=since)


def _since(orchestrator: "Orchestrator", first: datetime) -> datetime:
    """At or before the first commit, and whole windows before now: no short window is left for later."""
    now = orchestrator.now()
    found = (row for row in orchestrator.plugins() if row.name == f"{SOURCE}.commit")
    window = timedelta(seconds=next((row.import_window_duration for row in found), None) or 86400)
    return now - max(-((first - now) // window), 1) * window


def _print_plan(orchestrator: "Orchestrator") -> None:
    from tenantcollect.cli import tables
    from tenantcollect.cli.printing import print_table

    rows = orchestrator.plan([WHOLE, BRANCH], SOURCE)
    print_table(database_of(orchestrator), "plan", tables.PLAN, rows)


def _print_end(target: Target, orchestrator: "Orchestrator", report: "PassReport", json: bool) -> None:
    from tenantcollect.cli import tables
    from tenantcollect.cli.printing import print_object, print_table, say
    from tenantcollect.reports import as_json

    status = list(orchestrator.status([WHOLE, BRANCH], SOURCE))
    rows = [tables.fresh_row(row, _count(target, row.tenant_id, row.script)) for row in sorted(status, key=_order)]
    if json:
        print_object(database_of(orchestrator), {**as_json(report), "rows": rows})
        return
    say(tables.summary(report))
    say()
    print_table(database_of(orchestrator), "freshness", tables.FRESHNESS, rows)
    tables.troubles(status)
    say("next, in this database:")
    for words, what in NEXT:
        say(f"  {target.command} {words:<27} {what}")


NEXT = (
    ("run", "collect what is new since; now there is nothing to do"),
    (f"explain {WHOLE} {SOURCE}", "why each collector does or does not run"),
    (f"history {WHOLE} {SOURCE} commit", "every window, as it was collected"),
)


def _order(row: Any) -> tuple[str, int]:
    scripts = list(TABLES)
    return row.tenant_id, scripts.index(row.script) if row.script in scripts else len(scripts)


def _count(target: Target, tenant_id: str, script: str) -> int:
    """The rows of a tenant, asked of the database itself and not of our own bookkeeping."""
    from sqlalchemy import column, create_engine, func, make_url, select, table

    url = make_url(target.url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")  # the one driver that is installed with us
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            asked = [
                select(func.count()).select_from(table(name)).where(column("tenant_id") == tenant_id)
                for name in TABLES.get(script, ())
            ]
            return sum(connection.scalar(statement) or 0 for statement in asked)
    finally:
        engine.dispose()
