"""The tables of a backend that has some (floor: contracts)."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sqlalchemy import MetaData

__all__ = ["Schema"]


class Schema(Protocol):
    """How they are made and brought up to date; every door uses the same migrations."""

    def upgrade(self, tables: Iterable["MetaData"] = (), *, dry_run: bool = False) -> Sequence[str]:
        """Bring our tables to the newest revision, and create those of ``tables`` that are missing: their names."""
        ...

    def current(self) -> str | None:
        """The revision the database is at; None when our tables are not there."""
        ...

    def newest(self) -> str:
        """The revision this version of the library needs."""
        ...

    def sql(self) -> str:
        """The statements of an upgrade from nothing, for a person to run."""
        ...

    def described(self) -> str:
        """The database, with its password hidden."""
        ...
