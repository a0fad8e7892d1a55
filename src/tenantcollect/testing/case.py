"""One script under the collector suite: what was there before its window, and what there has to be after it
(floor: testing).
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any
from uuid import UUID, uuid5

import pytest
from attrs import define, frozen
from sqlalchemy import Column, Table

from tenantcollect.testing.collector import Collected, CollectorHarness
from tenantcollect.testing.stored import Row, Rows, holds_instants
from tenantcollect.windows import Window
from tenantcollect.worker.context import error_text

__all__ = ["Case", "Tenancy", "described", "require"]

FOREIGN_NUMBER = 1_000_003
"""What is added to another tenant's numeric keys: far enough from those of a fake."""


@frozen(kw_only=True)
class Tenancy:
    """Who is collected for, who else is there, and in which column of every table that stands."""

    tenant_id: str
    other: str
    column: str

    def of(self, tenant_id: str, rows: Rows) -> Rows:
        """The rows of one tenant."""
        return {name: [row for row in some if row.get(self.column) == tenant_id] for name, some in rows.items()}

    def moved(self, rows: Rows) -> Rows:
        """Our rows as the other tenant would have them, had it the very same data."""
        ours = self.of(self.tenant_id, rows)
        return {name: [{**row, self.column: self.other} for row in some] for name, some in ours.items()}

    def foreign(self, rows: Rows, tables: Mapping[str, Table]) -> Rows:
        """Rows of the other tenant that resemble ours, with keys that our data source knows nothing of."""
        return {
            name: [{key: self._foreign(tables[name].columns[key], value) for key, value in row.items()} for row in some]
            for name, some in self.moved(rows).items()
        }

    def _foreign(self, column: Column[Any], value: Any) -> Any:
        if column.name == self.column or not (column.primary_key or column.foreign_keys):
            return value
        match value:
            case str():
                return f"{value}-of-{self.other}"
            case int() if not isinstance(value, bool):
                return value + FOREIGN_NUMBER
            case UUID():
                return uuid5(value, self.other)
        return value


@define(kw_only=True)
class Case:
    """A script on a harness whose upstreams are collected; ``whole`` is what its window then gives."""

    harness: CollectorHarness
    script: str
    window: Window
    env: Mapping[str, str]
    tenancy: Tenancy
    volatile: Collection[str]
    before: Rows
    whole: Collected
    points: list[str]
    """The points that the whole window passed."""

    def fresh(self, rows: Rows | None = None) -> None:
        """As it was before the window; or with ``rows`` there."""
        self.harness.put_back(self.before if rows is None else rows)
        for tenant_id in (self.tenancy.tenant_id, self.tenancy.other):
            self.harness.forget(self.script, tenant_id)

    def run(
        self,
        window: Window | None = None,
        *,
        tenant_id: str | None = None,
        env: Mapping[str, str] | None = None,
        at: Callable[[str], object] | None = None,
    ) -> Collected:
        """Run the window, or another one."""
        return self.harness.run(
            self.script,
            window or self.window,
            env=self.env if env is None else env,
            tenant_id=tenant_id or self.tenancy.tenant_id,
            at=at,
        )

    def finish(self) -> BaseException | None:
        """Do what the next holder does: run what is left of the window, if anything; what it failed with."""
        rest = self.harness.rest(self.script, self.window, self.tenancy.tenant_id)
        return next((error for window in rest if (error := self.run(window).error) is not None), None)

    def written(self) -> list[str]:
        """The tables in which the window makes a difference."""
        return [name for name, rows in self.whole.rows.items() if rows != self.before[name]]

    def differs(self, found: Rows, expected: Rows | None = None) -> str:
        """How ``found`` differs from what the whole window gives, in words; empty if it does not."""
        wanted = self.whole.rows if expected is None else expected
        return "; ".join(
            f"{name} {text}"
            for name, table in self.harness.tables_by_name.items()
            if (text := _difference(self._plain(table, wanted[name]), self._plain(table, found[name])))
        )

    def _plain(self, table: Table, rows: list[Row]) -> list[str]:
        """The rows as they are compared: without what the database fills by itself, and what is meant to change."""
        left_out = {*self.volatile, *(column.key for column in table.columns if _filled(table, column))}
        return [repr({name: value for name, value in row.items() if name not in left_out}) for row in rows]


def _filled(table: Table, column: Column[Any]) -> bool:
    """Whether the database counts or clocks a column: a number that is the whole key, a time with a default."""
    if column is table.autoincrement_column:
        return len(table.primary_key.columns) == 1
    defaults = (column.default, column.onupdate, column.server_default, column.server_onupdate)
    return holds_instants(column.type) is not None and any(default is not None for default in defaults)


def _difference(expected: list[str], found: list[str]) -> str:
    missing, surplus = list(expected), []
    for row in found:
        if row in missing:
            missing.remove(row)
        else:
            surplus.append(row)
    parts = [
        f"{word} {len(rows)} rows, such as {rows[0]}"
        for word, rows in (("lacks", missing), ("has in excess", surplus))
        if rows
    ]
    return " and ".join(parts)


def described(error: BaseException | None) -> str:
    """An error as an operator would read it, with the places in the collector it came through."""
    return "no error" if error is None else error_text(error)


def require(held: object, message: str) -> None:
    """Fail the test with ``message`` alone: what to do, without our own code around it."""
    if not held:
        pytest.fail(message, pytrace=False)
