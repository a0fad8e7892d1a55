"""Which tenants have which data sources, in our own tables (floor: backends)."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    and_,
    case,
    delete,
    func,
    select,
    true,
    tuple_,
    union,
)

from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.expressions import Clock, EpochMicroseconds, among
from tenantcollect.catalog import ConfigValue, Source

__all__ = ["SqlCatalog"]

PAGE = 500
# Revisions are microseconds of the epoch; their sum must fit an int8 whatever their number.
MODULUS = 1_000_003
PARTS = ("tenant_id", "data_source")


class SqlCatalog:
    """An :class:`~tenantcollect.catalog.EditableCatalog`. Values that a host writes into the config table by
    itself count too: configured is what has a row.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def sources(self, tenant_ids: Collection[str] | None = None) -> Iterator[Source]:
        """Page by page, each a read of its own."""
        last: Source | None = None
        while True:
            with self._database.reading() as connection:
                page = self._page(connection, tenant_ids, last)
                found = [_source(row) for row in connection.execute(page)]
            yield from found
            if len(found) < PAGE:
                return
            last = found[-1]

    def _page(self, connection: Connection, tenant_ids: Collection[str] | None, last: Source | None) -> Select[Any]:
        """Every source that has a row of its own or a value, with what changes whenever one of them does."""
        source, config = self._database.tables.source, self._database.tables.config
        either = union(*(self._keys(connection, table, tenant_ids, last) for table in (source, config))).subquery()
        mine = and_(*(config.c[part] == either.c[part] for part in PARTS))
        count = select(func.count()).select_from(config).where(mine).scalar_subquery()
        newest = select(func.max(config.c.updated_at)).where(mine).scalar_subquery()
        own = (source.c.revision, source.c.since, source.c.interval, source.c.order)
        return (
            select(*either.c, *own, count.label("count"), newest.label("newest"))
            .outerjoin(source, and_(*(source.c[part] == either.c[part] for part in PARTS)))
            .order_by(*either.c)
            .limit(PAGE)
        )

    def _keys(
        self, connection: Connection, table: Table, tenant_ids: Collection[str] | None, last: Source | None
    ) -> Select[Any]:
        parts = [table.c[part] for part in PARTS]
        chosen = true() if tenant_ids is None else among(connection, table.c.tenant_id, tenant_ids)
        beyond = true() if last is None else tuple_(*parts) > tuple_(last.tenant_id, last.data_source)
        first = select(*parts).where(chosen, beyond).distinct().order_by(*parts).limit(PAGE)
        return select(first.subquery())

    def env(self, tenant_id: str, data_source: str) -> Mapping[str, str]:
        return {stored.key: stored.value for stored in self.values(tenant_id, data_source)}

    def values(self, tenant_id: str, data_source: str, *, connection: Any = None) -> list[ConfigValue]:
        config = self._database.tables.config
        mine = select(config).where(_is(config, tenant_id, data_source)).order_by(config.c.key)
        database = self._database
        with database.reading() if connection is None else database.joined(connection) as reader:
            return [
                ConfigValue(key=row.key, value=row.value, is_secret=bool(row.is_secret)) for row in reader.execute(mine)
            ]

    def version(self) -> object:
        """One statement. A revision is never used twice, so no two changes can cancel each other out."""
        source, config = self._database.tables.source, self._database.tables.config
        count, newest = func.count(), func.coalesce(func.max(source.c.revision), 0)
        total = func.coalesce(func.sum(source.c.revision % MODULUS), 0)
        values = select(func.count()).select_from(config).scalar_subquery()
        updated = select(func.max(config.c.updated_at)).scalar_subquery()
        with self._database.reading() as connection:
            row = connection.execute(select(count, newest, total, values, updated).select_from(source)).one()
            return tuple(str(part) for part in row)

    def write(
        self,
        tenant_id: str,
        data_source: str,
        values: Collection[ConfigValue],
        removed: Collection[str] = (),
        *,
        settings: Mapping[str, Any],
        connection: Any = None,
    ) -> None:
        """Order of locks: source, then its values by name."""
        config = self._database.tables.config
        with self._database.joined(connection) as ours:
            self._touch(ours, tenant_id, data_source, settings)
            if removed:
                gone = among(ours, config.c.key, removed)
                ours.execute(delete(config).where(_is(config, tenant_id, data_source), gone))
            for value in sorted(values, key=lambda value: value.key):
                self._put(ours, tenant_id, data_source, value)

    def _touch(self, connection: Connection, tenant_id: str, data_source: str, settings: Mapping[str, Any]) -> None:
        """Make the source, or give it its next revision, which is later than any that was ever removed."""
        source = self._database.tables.source
        new = self._database.dialect.insert(source).values(
            tenant_id=tenant_id, data_source=data_source, revision=EpochMicroseconds(), **settings
        )
        connection.execute(
            new.on_conflict_do_update(
                index_elements=[source.c.tenant_id, source.c.data_source],
                set_={"revision": _greater(source.c.revision + 1, new.excluded.revision), **settings},
            )
        )

    def _put(self, connection: Connection, tenant_id: str, data_source: str, value: ConfigValue) -> None:
        config = self._database.tables.config
        told = {"value": value.value, "is_secret": value.is_secret, "updated_at": Clock()}
        put = self._database.dialect.insert(config).values(
            tenant_id=tenant_id, data_source=data_source, key=value.key, **told
        )
        primary_key = [config.c.tenant_id, config.c.data_source, config.c.key]
        connection.execute(put.on_conflict_do_update(index_elements=primary_key, set_=told))

    def remove(self, tenant_id: str, data_source: str, *, connection: Any = None) -> None:
        source, config = self._database.tables.source, self._database.tables.config
        with self._database.joined(connection) as ours:
            for table in (source, config):
                ours.execute(delete(table).where(_is(table, tenant_id, data_source)))


def _is(table: Table, tenant_id: str, data_source: str) -> ColumnElement[bool]:
    return and_(table.c.tenant_id == tenant_id, table.c.data_source == data_source)


def _greater(left: ColumnElement[int], right: ColumnElement[int]) -> ColumnElement[int]:
    return case((left > right, left), else_=right)


def _source(row: Row[Any]) -> Source:
    return Source(
        tenant_id=row.tenant_id,
        data_source=row.data_source,
        revision=f"{row.revision or 0}-{row.count}-{row.newest}",
        interval=row.interval,
        since=row.since,
        order=row.order or "oldest_first",
    )
