"""One script under the collector suite: what was there before its window, and what there has to be after it
(floor: testing).
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest
from attrs import define
from sqlalchemy import Column, Table

from tenantcollect.testing.collector import Collected, CollectorHarness
from tenantcollect.testing.stored import Row, Rows, holds_instants
from tenantcollect.testing.tenancy import Tenancy, generated
from tenantcollect.windows import Window
from tenantcollect.worker.context import error_text

__all__ = ["Case", "described", "require"]


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
        left_out = {*self.volatile, *(column.key for column in table.columns if _filled(column))}
        return [repr({name: value for name, value in row.items() if name not in left_out}) for row in rows]


def _filled(column: Column[Any]) -> bool:
    """Whether nobody can know a value beforehand: a key that the database counts, a time with a default."""
    defaults = (column.default, column.onupdate, column.server_default, column.server_onupdate)
    clocked = holds_instants(column.type) is not None and any(default is not None for default in defaults)
    return clocked or generated(column)


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
