"""The options that several commands share, and how their texts are read (floor: cli)."""

import math
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

LONGEST_SECONDS = 366 * 86400
LARGEST_NUMBER = 1_000_000_000


def seconds(text: str) -> float:
    """A positive number of seconds, at most 366 days."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= LONGEST_SECONDS:
        raise typer.BadParameter(f"{ascii(text)[:40]} is not a number of seconds between 0 and {LONGEST_SECONDS}")
    return value


def moment(text: str) -> datetime:
    """An instant in UTC; a time without a zone is refused, because it names no instant."""
    example = "write it like 2026-01-31T00:00:00Z"
    try:
        value = datetime.fromisoformat(text.strip())
        if value.tzinfo is not None:
            return value.astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{ascii(text)[:40]} is not a time in ISO 8601; {example}") from None
    raise typer.BadParameter(f"{ascii(text)[:40]} has no time zone; {example}")


def executor_name(text: str) -> str:
    """Threads, or an installed executor."""
    from tenantcollect.errors import ConfigurationError
    from tenantcollect.registry import installed_executor

    if text != "threads":
        try:
            installed_executor(text)
        except ConfigurationError as error:
            raise typer.BadParameter(str(error)) from None
    return text


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, max=LARGEST_NUMBER, metavar="N", help="At most N rows.")]

Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant.", show_default=False)]
DataSource = Annotated[str, typer.Argument(metavar="SOURCE", help="The data source.", show_default=False)]
SomeTenant = Annotated[str | None, typer.Argument(metavar="TENANT", help="Only this tenant.", show_default=False)]
SomeSource = Annotated[str | None, typer.Argument(metavar="SOURCE", help="Only this source.", show_default=False)]
SomeScript = Annotated[str | None, typer.Argument(metavar="SCRIPT", help="Only this script.", show_default=False)]

Many = list[str] | None
OnlyTenants = Annotated[Many, typer.Option("--tenant", metavar="TENANT", help="Only this one; may be repeated.")]
OnlySources = Annotated[Many, typer.Option("--data-source", metavar="SOURCE", help="Only this; may be repeated.")]
OnlyScripts = Annotated[Many, typer.Option("--script", metavar="SCRIPT", help="Only this; may be repeated.")]


def _number(flag: str, help: str) -> Any:  # noqa: A002 - typer's own word
    return typer.Option(flag, min=1, max=LARGEST_NUMBER, metavar="N", envvar=_variable(flag), help=help)


def _seconds(flag: str, help: str) -> Any:  # noqa: A002 - typer's own word
    return typer.Option(flag, parser=seconds, metavar="SECONDS", envvar=_variable(flag), help=help)


def _variable(flag: str) -> str:
    return "TENANTCOLLECT_" + flag.removeprefix("--").replace("-", "_").upper()


MaxWindows = Annotated[int | None, _number("--max-windows", "Claim no more than N windows.")]
MaxDuration = Annotated[float | None, _seconds("--max-duration", "Claim nothing more after this time.")]
ExitZero = Annotated[
    bool,
    typer.Option("--exit-zero", envvar=_variable("--exit-zero"), help="Exit with 0 though some key failed."),
]
Concurrency = Annotated[int | None, _number("--concurrency", "Windows at once.")]
Executor = Annotated[
    str | None,
    typer.Option(
        parser=executor_name,
        metavar="NAME",
        envvar=_variable("--executor"),
        help="Where windows run: threads, processes (can be killed), or an installed extension.",
    ),
]
LeaseTtl = Annotated[float | None, _seconds("--lease-ttl", "How long a claim outlives its process.")]
RetryDelay = Annotated[float | None, _seconds("--retry-delay", "The first back-off after a failure.")]
WindowTimeout = Annotated[float | None, _seconds("--window-timeout", "The longest run of one window.")]
Grace = Annotated[float | None, _seconds("--grace", "How long a stop waits for open windows.")]

CheckTimeout = Annotated[
    float | None, _seconds("--check-timeout", "How long each data source may take to answer; 30 unless told.")
]

Since = Annotated[datetime, typer.Option("--since", parser=moment, metavar="TIME", help="Collect from here on.")]
Start = Annotated[datetime | None, typer.Option("--start", parser=moment, metavar="TIME", help="From here on.")]
End = Annotated[datetime | None, typer.Option("--end", parser=moment, metavar="TIME", help="Up to here.")]
Until = Annotated[datetime | None, typer.Option("--until", parser=moment, metavar="TIME", help="It ends then.")]
