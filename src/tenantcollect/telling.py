"""What is told of an error that other people's code raised (floor: ground, pure).

Their ``__str__`` may itself raise, or end the process: nothing here does.
"""

from collections.abc import Collection
from traceback import walk_tb

__all__ = ["IMPORTING", "class_name", "place", "told", "words"]

IMPORTING = ("importlib",)
NAME_OF_CLASS = type.__dict__["__name__"]
"""Asked so, a class says its name whatever its metaclass makes of ``__name__``."""


def class_name(error: BaseException) -> str:
    """The name of an error's class, which runs none of the error's own code."""
    return str(NAME_OF_CLASS.__get__(type(error)))


def words(error: BaseException) -> str:
    """The message of ``error``; where it cannot be written, that."""
    try:
        return f"{error.msg}" if isinstance(error, SyntaxError) else str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - somebody else's __str__, which may even raise SystemExit
        return "(its message cannot be written)"


def place(error: BaseException, beside: Collection[str] = IMPORTING) -> str | None:
    """``file:line`` where ``error`` was raised, or where a syntax error stands.

    Frames of files with one of ``beside`` in their name are passed over: nobody can mend it there.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    found = None
    for frame, line in walk_tb(error.__traceback__):
        filename = frame.f_code.co_filename
        found = found if any(part in filename for part in beside) else f"{filename}:{line}"
    return found


def told(error: BaseException, beside: Collection[str] = IMPORTING) -> str:
    """``Class: message at file:line``, as far as there is a message and a place."""
    message, where = words(error), place(error, beside)
    return class_name(error) + (f": {message}" if message else "") + (f" at {where}" if where else "")
