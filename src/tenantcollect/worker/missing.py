"""A table that a collector declares and nobody has made yet: the commonest trouble after installing one."""

from collections.abc import Collection

from tenantcollect.worker.context import words_of

__all__ = ["missing_table"]

UNDEFINED_TABLE = "42P01"


def missing_table(error: BaseException, declared: Collection[str]) -> str | None:
    """Which of the ``declared`` tables a database error says is not there, with the cure; None if it says no such."""
    driver_error = getattr(error, "orig", None) or error
    told = words_of(driver_error).split("\n", 1)[0]
    if getattr(driver_error, "sqlstate", None) != UNDEFINED_TABLE and "no such table" not in told:
        return None
    said = {word.strip("\"'.,:;").rpartition(".")[2] for word in told.replace('"', " ").split()}
    name = next((name for name in declared if name in said), None)
    return f"The collector's table {name} is not there yet; run: tenantcollect db upgrade" if name else None
