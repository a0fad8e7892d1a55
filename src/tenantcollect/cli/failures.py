"""Every error becomes one line, the next command, and an exit code: here and nowhere else (floor: cli)."""

import sys
import traceback
from collections.abc import Iterable

from tenantcollect import errors
from tenantcollect.cli.printing import advised, note
from tenantcollect.cli.streams import err
from tenantcollect.secrets import Masker, one_line
from tenantcollect.telling import words

DONE = 0
BUG = 1
USAGE = 2
NEEDS_ACTION = 3
UNUSABLE_DATABASE = 4

CODES: tuple[tuple[type[Exception], int], ...] = (
    (errors.StorageError, UNUSABLE_DATABASE),
    (errors.PluginError, NEEDS_ACTION),
    (errors.ConfigurationError, USAGE),
    (errors.TenantcollectError, NEEDS_ACTION),
)
NEXT: tuple[tuple[type[Exception], str], ...] = (
    (errors.SchemaNotCurrent, "tenantcollect db upgrade"),
    (errors.DatabaseUnavailable, "tenantcollect doctor  (is the database URL right?)"),
    (errors.PluginError, "tenantcollect plugins"),
)
RED, PLAIN = "\x1b[31m", "\x1b[0m"


def report(error: Exception, hidden: Iterable[str] = ()) -> int:
    """Say on stderr what is wrong and what to do; the exit code. Nothing of ``hidden`` is shown."""
    masker = Masker.of(hidden)
    code = next((code for kind, code in CODES if isinstance(error, kind)), BUG)
    if code == BUG:
        _bug(error, masker)
    else:
        message = masker.mask(words(error))
        complain(message)
        _advise(error, message, masker)
    return code


def complain(message: str) -> None:
    """One line on stderr, red on a terminal."""
    text = one_line(advised(" ".join(message.split())))
    stream = err()
    stream.write(f"{RED}error: {text}{PLAIN}\n" if stream.isatty() else f"error: {text}\n")


def _advise(error: Exception, message: str, masker: Masker) -> None:
    fields = error.fields if isinstance(error, errors.ConfigurationError) else {}
    for name, problem in fields.items():
        if problem not in message:
            note(masker.mask(f"  {name}: {problem}"))
    command = next((command for kind, command in NEXT if isinstance(error, kind)), None)
    if command and "tenantcollect " not in message:
        note(f"  run: {command}")


def _bug(error: Exception, masker: Masker) -> None:
    """The traceback, without locals, masked; this is the only case that shows one."""
    for line in masker.mask("".join(traceback.format_exception(error))).splitlines():
        sys.stderr.write(one_line(line) + "\n")
    complain("this is a bug of tenantcollect; please report it with the lines above")
