"""The command line: parse, call the orchestrator, print (floor: cli).

Everything heavy is imported inside a command, so that ``--help`` costs next to nothing.
"""

import os
import sys
from collections.abc import Sequence

from tenantcollect.cli.app import app
from tenantcollect.cli.streams import UNWRITABLE, OutputLost, own_streams
from tenantcollect.cli.target import Target

__all__ = ["main"]

USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0, 2, 3, 4, 74, 141 as documented, 1 for a bug.

    Without ``arguments`` it is that of the process, and the process is there for nothing else.
    """
    target = Target(whole=arguments is None)
    with own_streams(lambda: target.command):
        try:
            code = _run(target, arguments)
        except OutputLost as lost:
            if lost.code == UNWRITABLE:
                sys.stderr.write(f"error: the output cannot be written ({lost})\n")
            code = lost.code
        sys.stderr.flush()
    if target.apart:
        os._exit(code)  # the parent goes on from here
    return code


def _run(target: Target, arguments: Sequence[str] | None) -> int:
    try:
        app(args=arguments, prog_name="tenantcollect", obj=target)
    except SystemExit as ended:
        sys.stdout.flush()
        # typer ends with 1 only where its question, such as that for a secret, was not answered.
        return USAGE if ended.code == 1 else int(ended.code or 0)
    except OutputLost:
        raise
    except Exception as error:  # noqa: BLE001 - the one place where an error becomes a line and an exit code
        from tenantcollect.cli.failures import report

        return report(error, target.hidden)
    return 0
