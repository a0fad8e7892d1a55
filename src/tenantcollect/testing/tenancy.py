"""The other tenant, and rows of it that resemble ours (floor: testing)."""

import re
from collections.abc import Callable, Iterator, Mapping
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any
from uuid import UUID, uuid5

from attrs import frozen
from sqlalchemy import BigInteger, CheckConstraint, Column, Enum, SmallInteger, String, Table, UniqueConstraint, Uuid
from sqlalchemy.types import TypeDecorator

from tenantcollect.testing.stored import Rows

__all__ = ["Tenancy", "generated"]

SHIFTED = {small: 10_007 if small else 1_000_003 for small in (True, False)}
"""What is added to another tenant's numbers, small or not: far enough from those of a fake."""
OTHER_LETTERS = str.maketrans(
    ascii_lowercase + ascii_uppercase + digits,
    ascii_lowercase[13:] + ascii_lowercase[:13] + ascii_uppercase[13:] + ascii_uppercase[:13] + "àáâãäåæçèé",
)
"""Another text of the same length for each text, whatever column it must fit."""
CHANGE = re.compile(r'\s*(?:UPDATE|DELETE\s+FROM)\s+(?:ONLY\s+)?(["\w.]+)(.*)', re.IGNORECASE | re.DOTALL)
WHERE = re.compile(r"\bWHERE\b", re.IGNORECASE)


@frozen(kw_only=True)
class Tenancy:
    """Who is collected for, who else is there, and in which column of every table that stands."""

    tenant_id: str
    other: str
    column: str

    def of(self, tenant_id: str, rows: Rows) -> Rows:
        """The rows of one tenant."""
        return {name: [row for row in some if row.get(self.column) == tenant_id] for name, some in rows.items()}

    def without_other(self, rows: Rows) -> Rows:
        """All rows but those of the other tenant."""
        return {name: [row for row in some if row.get(self.column) != self.other] for name, some in rows.items()}

    def moved(self, rows: Rows, tables: Mapping[str, Table]) -> Rows:
        """Our rows as the other tenant would have them, had it the very same data."""
        return self._with(rows, tables, self._alone)

    def foreign(self, rows: Rows, tables: Mapping[str, Table]) -> Rows:
        """Rows of the other tenant that resemble ours, with keys that our data source knows nothing of."""
        return self._with(rows, tables, self._keyed)

    def marked(self, rows: Rows, tables: Mapping[str, Table]) -> Rows:
        """Our rows with other texts in them, so that it shows if somebody writes them once more."""
        ours = self.of(self.tenant_id, rows)
        return {
            name: [
                {key: _other(column, row[key]) if self._plain(column) else row[key] for key, column in columns.items()}
                if row in ours[name]
                else row
                for row in some
            ]
            for name, some in rows.items()
            for columns in [dict(tables[name].columns)]
        }

    def unowned_keys(self, table: Table) -> list[str]:
        """The keys of a table, as texts, in which the tenant is missing, so that two tenants share them.

        A primary key that the database counts, or that stands beside a unique one with the tenant, is nobody's.
        """
        primary, unique = list(table.primary_key.columns), list(_unique(table))
        owned = any(self.column in _keys(columns) for columns in unique)
        if owned or any(generated(column) for column in primary):
            primary = []
        return [
            ", ".join(_keys(columns))
            for columns in (primary, *unique)
            if columns and self.column not in _keys(columns) and not any(generated(column) for column in columns)
        ]

    def unbound(self, sql: str, tables: Mapping[str, Table]) -> bool:
        """Whether a statement changes rows of a tenants' table, and asks neither for the tenant nor for one row."""
        found = CHANGE.match(sql)
        table = tables.get(found[1].replace('"', "")) if found else None
        if found is None or table is None or self.column not in table.columns:
            return False
        enough = [table.columns[self.column].name]
        if self.column not in table.primary_key.columns:
            enough += [column.name for column in table.primary_key.columns]
        _, *asked = WHERE.split(found[2], maxsplit=1)
        return not re.search(rf"\b(?:{'|'.join(map(re.escape, enough))})\b", "".join(asked))

    def _with(self, rows: Rows, tables: Mapping[str, Table], changed: Callable[[Column[Any]], bool]) -> Rows:
        def of_other(column: Column[Any], value: Any) -> Any:
            if column.key == self.column:
                return self.other
            return _other(column, value) if changed(column) else value

        ours = self.of(self.tenant_id, rows)
        return {
            name: [{key: of_other(tables[name].columns[key], value) for key, value in row.items()} for row in some]
            for name, some in ours.items()
        }

    def _keyed(self, column: Column[Any]) -> bool:
        """Whether a column says which row of a tenant it is, or refers to one."""
        targets = _targets(column)
        if targets:
            return any(self._keyed(target) for target in targets)
        return column.primary_key and column.key != self.column and self.column in column.table.columns

    def _alone(self, column: Column[Any]) -> bool:
        """Whether a column says, without the tenant, which row it is, or refers to one that does."""
        targets = _targets(column)
        if targets:
            return any(self._alone(target) for target in targets)
        return self._keyed(column) and self.column not in column.table.primary_key.columns

    def _plain(self, column: Column[Any]) -> bool:
        """Whether a column holds a text that nothing depends on."""
        kind = _kind(column)
        if not isinstance(kind, String) or isinstance(kind, Enum) or column.computed is not None:
            return False
        held = {*column.table.primary_key.columns, *(each for key in _unique(column.table) for each in key)}
        checked = any(isinstance(rule, CheckConstraint) for rule in column.table.constraints)
        return not (checked or column in held or column.foreign_keys or column.key == self.column)


def generated(column: Column[Any]) -> bool:
    """Whether the database, or a default, makes the value of a key; also of one in another table."""
    if targets := _targets(column):
        return any(generated(target) for target in targets)
    alone = len(column.table.primary_key.columns) == 1
    counted = column is column.table.autoincrement_column
    filled = column.default is not None or column.server_default is not None
    return column.identity is not None or (column.primary_key and alone and (counted or filled))


def _targets(column: Column[Any]) -> list[Column[Any]]:
    return [key.column for key in column.foreign_keys if key.column is not column]


def _keys(columns: list[Column[Any]]) -> list[str]:
    return [column.key for column in columns]


def _unique(table: Table) -> Iterator[list[Column[Any]]]:
    for rule in table.constraints:
        if isinstance(rule, UniqueConstraint):
            yield list(rule.columns)
    for index in table.indexes:
        if index.unique:
            yield list(index.columns)


def _kind(column: Column[Any]) -> Any:
    kind = column.type
    return kind.impl_instance if isinstance(kind, TypeDecorator) else kind


def _other(column: Column[Any], value: Any) -> Any:
    """Another value for each value, which fits the column as well; the same where nobody can know one."""
    kind = _kind(column)
    match value:
        case str() if isinstance(kind, Uuid):
            return str(uuid5(UUID(value), "other"))
        case str() if not isinstance(kind, Enum):
            return value.translate(OTHER_LETTERS)
        case int() if not isinstance(value, bool):
            small = isinstance(kind, SmallInteger)
            largest = 2 ** (15 if small else 63 if isinstance(kind, BigInteger) else 31)
            return value + SHIFTED[small] if value + SHIFTED[small] < largest else value - SHIFTED[small]
        case UUID():
            return uuid5(value, "other")
    return value
