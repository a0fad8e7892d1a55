"""The command line: parse, call the orchestrator, print (floor: cli).

Everything heavy is imported inside a command, so that ``--help`` costs next to nothing.
"""

import os
import sys
from collections.abc import Sequence

from tenantcollect.cli.app import app
from tenantcollect.cli.target import Target

__all__ = ["main"]

READER_WENT_AWAY = 141
"""What a shell reports for a command whose reader closed the pipe, as ``| head`` does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0, 2, 3, 4 as documented, 1 for a bug."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a tenant's name must not break an ASCII terminal
    target = Target()
    try:
        code = _run(target, arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_went_away()
    except Exception as error:  # noqa: BLE001 - the one place where an error becomes a line and an exit code
        from tenantcollect.cli.failures import report

        return report(error, target.hidden)
    return code


def _run(target: Target, arguments: Sequence[str] | None) -> int:
    try:
        app(args=arguments, prog_name="tenantcollect", obj=target)
    except SystemExit as ended:
        # typer ends with 1 only where the output has no reader any more; bugs arrive as exceptions.
        return _reader_went_away() if ended.code == 1 else int(ended.code or 0)
    return 0


def _reader_went_away() -> int:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to flush at exit
    return READER_WENT_AWAY
