"""Which tenants have which data sources, in our own tables (floor: backends)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from attrs import evolve
from sqlalchemy import (
    BigInteger,
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
    type_coerce,
    union,
    update,
)

from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.expressions import NOT_NORMAL, Clock, EpochMicroseconds, among
from tenantcollect.catalog import GRAVITY, ConfigValue, Rotation, Source, unreadable
from tenantcollect.ciphers import NO_CIPHER, PREFIX, AtRest, Cipher, encrypted_with, plain
from tenantcollect.errors import ConfigurationError, TenantcollectError

__all__ = ["SqlCatalog"]

PAGE = 500
# Revisions are microseconds of the epoch; their sum must fit an int8 whatever their number.
MODULUS = 1_000_003
PARTS = ("tenant_id", "data_source")


class SqlCatalog:
    """An :class:`~tenantcollect.catalog.EncryptingCatalog`. Values that a host writes into the config table by
    itself count too: configured is what has a row.
    """

    def __init__(self, database: Database, cipher: Cipher | None = None) -> None:
        self._database = database
        self._at_rest = AtRest(cipher)

    def sources(self, tenant_ids: Collection[str] | None = None) -> Iterator[Source]:
        """Page by page, each a read of its own."""
        last: Row[Any] | None = None
        while True:
            with self._database.reading() as connection:
                page = self._page(connection, tenant_ids, last)
                found = connection.execute(page).all()
            yield from self._database.unread.sift(self._database.tables.config, found, _source)
            if len(found) < PAGE:
                return
            last = found[-1]

    def _page(self, connection: Connection, tenant_ids: Collection[str] | None, last: Row[Any] | None) -> Select[Any]:
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
        self, connection: Connection, table: Table, tenant_ids: Collection[str] | None, last: Row[Any] | None
    ) -> Select[Any]:
        parts = [table.c[part] for part in PARTS]
        chosen = true() if tenant_ids is None else among(connection, table.c.tenant_id, tenant_ids)
        beyond = true() if last is None else tuple_(*parts) > tuple_(last.tenant_id, last.data_source)
        first = select(*parts).where(chosen, beyond).distinct().order_by(*parts).limit(PAGE)
        return select(first.subquery())

    def env(self, tenant_id: str, data_source: str) -> Mapping[str, str]:
        values = self.values(tenant_id, data_source)
        if error := unreadable(tenant_id, data_source, values):
            raise error
        return {value.key: value.value.reveal() for value in values}

    def together(self) -> AbstractContextManager[Connection]:
        writing: AbstractContextManager[Connection] = self._database.writing(patient=True)
        return writing

    def values(
        self, tenant_id: str, data_source: str, *, connection: Any = None, without: Collection[str] = ()
    ) -> list[ConfigValue]:
        rows = self._rows(tenant_id, data_source, connection)
        return [_unread(row) if row.key in without else self._value(row) for row in rows]

    def _rows(self, tenant_id: str, data_source: str, connection: Any = None) -> Sequence[Row[Any]]:
        config, database = self._database.tables.config, self._database
        mine = select(config).where(_is(config, tenant_id, data_source)).order_by(config.c.key)
        with database.reading() if connection is None else database.joined(connection) as reader:
            return self._database.unread.sift(config, reader.execute(mine), _with_key)

    def _value(self, row: Row[Any]) -> ConfigValue:
        """One value; whatever the cipher cannot do is a problem of this one."""
        if row.value is None:
            return evolve(_unread(row), problem="it is no text: it was damaged or changed")
        try:
            text = self._at_rest.text(row.value, (row.tenant_id, row.data_source, row.key))
        except TenantcollectError as error:
            kind = next(kind for kind in type(error).__mro__ if kind in GRAVITY)
            return evolve(_unread(row), problem=str(error), failure=kind)
        return evolve(_unread(row), value=text)

    def _stored(self, value: ConfigValue, tenant_id: str, data_source: str) -> str:
        text = value.value.reveal()
        return self._at_rest.stored(text, (tenant_id, data_source, value.key)) if value.is_secret else plain(text)

    def version(self) -> object:
        """One statement, which reads all sources and values. A revision is never used twice, so no two changes can
        cancel each other out. The greatest would not do: who began first may commit last.
        """
        source, config = self._database.tables.source, self._database.tables.config
        revision = type_coerce(source.c.revision, BigInteger())
        count, newest = func.count(), func.coalesce(func.max(revision), 0)
        total = func.coalesce(func.sum(revision % MODULUS), 0)
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
        marked: Collection[str] = (),
        settings: Mapping[str, Any],
        connection: Any = None,
    ) -> None:
        """Order of locks: source, then its values by name.

        Raises :class:`ConfigurationError` for a secret where others are encrypted and there is no cipher.
        """
        config = self._database.tables.config
        with self._database.joined(connection) as ours:
            secret = marked or any(value.is_secret for value in values)
            if secret and self._at_rest.cipher is None and self._encrypts(ours):
                raise ConfigurationError(f"secrets are encrypted in this database, and there is no cipher; {NO_CIPHER}")
            self._touch(ours, tenant_id, data_source, settings)
            if removed:
                gone = among(ours, config.c.key, removed)
                ours.execute(delete(config).where(_is(config, tenant_id, data_source), gone))
            for value in sorted(values, key=lambda value: value.key):
                self._put(ours, tenant_id, data_source, value)
            if marked:
                self._mark(ours, tenant_id, data_source, marked)

    def _encrypts(self, connection: Connection) -> bool:
        """Whether any stored value is encrypted."""
        config = self._database.tables.config
        begins = func.substr(config.c.value, 1, len(PREFIX) + 1)
        encrypted = and_(func.substr(begins, 1, len(PREFIX)) == PREFIX, begins != plain(PREFIX)[: len(PREFIX) + 1])
        return connection.execute(select(config.c.key).where(encrypted).limit(1)).first() is not None

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
        stored = self._stored(value, tenant_id, data_source)
        told = {"value": stored, "is_secret": value.is_secret, "updated_at": Clock()}
        put = self._database.dialect.insert(config).values(
            tenant_id=tenant_id, data_source=data_source, key=value.key, **told
        )
        primary_key = [config.c.tenant_id, config.c.data_source, config.c.key]
        connection.execute(put.on_conflict_do_update(index_elements=primary_key, set_=told))

    def _mark(self, connection: Connection, tenant_id: str, data_source: str, keys: Collection[str]) -> None:
        """Mark what stands there now, which nobody changes before we commit, and encrypt it if it is not."""
        config = self._database.tables.config
        found = select(config).where(_is(config, tenant_id, data_source), among(connection, config.c.key, keys))
        for row in connection.execute(found.order_by(config.c.key)).all():
            place, text = (tenant_id, data_source, row.key), row.value
            if text is not None and not encrypted_with(text):
                text = self._at_rest.stored(self._at_rest.text(text, place), place)
            unchanged = and_(_is(config, tenant_id, data_source), config.c.key == row.key, config.c.value == row.value)
            connection.execute(update(config).where(unchanged).values(value=text, is_secret=True, updated_at=Clock()))

    def rotate(
        self, tenant_id: str, data_source: str, secret: Collection[str] = (), *, dry_run: bool = False
    ) -> Rotation:
        """Nothing is locked while a cipher works: a value that was set meanwhile is another one, and stays."""
        if not dry_run:
            self._at_rest.require()
        rows = [
            row
            for row in self._rows(tenant_id, data_source)
            if row.is_secret or row.key in secret or encrypted_with(row.value or "")
        ]
        values = {row.key: self._value(row) for row in rows}
        problems = {key: value.problem for key, value in values.items() if value.problem}
        stale = [row for row in rows if row.key not in problems and not self._at_rest.newest(row.value)]
        if stale and not dry_run:
            texts, failed = self._encrypted(stale, values)
            problems |= failed
            stale = [row for row in stale if row.key in texts]
            self._store_anew(tenant_id, data_source, [(row, texts[row.key]) for row in stale])
        never = sum(not encrypted_with(row.value) for row in stale)
        return Rotation(
            tenant_id=tenant_id,
            data_source=data_source,
            plain=never,
            older=len(stale) - never,
            newest=len(rows) - len(stale) - len(problems),
            unreadable=problems,
            dry_run=dry_run,
        )

    def _encrypted(
        self, rows: Sequence[Row[Any]], values: Mapping[str, ConfigValue]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """What to store instead, by key, and what the cipher met; raises for one that cannot be used at all."""
        texts, problems = {}, {}
        for row in rows:
            text = values[row.key].value.reveal()
            try:
                texts[row.key] = self._at_rest.anew(text, (row.tenant_id, row.data_source, row.key))
            except TenantcollectError as error:
                if type(error) is ConfigurationError:
                    raise
                problems[row.key] = str(error)
        return texts, problems

    def _store_anew(self, tenant_id: str, data_source: str, texts: Sequence[tuple[Row[Any], str]]) -> None:
        """Order of locks as in ``write``. ``updated_at`` and the revision stay: no value has changed."""
        source, config = self._database.tables.source, self._database.tables.config
        with self._database.writing(patient=True) as connection:
            locked = select(source.c.revision).where(_is(source, tenant_id, data_source)).with_for_update()
            connection.execute(locked)
            for row, text in texts:
                unchanged = and_(config.c.key == row.key, config.c.value == row.value)
                anew = update(config).where(_is(config, tenant_id, data_source), unchanged)
                connection.execute(anew.values(value=text, is_secret=True))

    def remove(self, tenant_id: str, data_source: str) -> None:
        source, config = self._database.tables.source, self._database.tables.config
        with self._database.writing(patient=True) as connection:
            for table in (source, config):
                connection.execute(delete(table).where(_is(table, tenant_id, data_source)))


def _unread(row: Row[Any]) -> ConfigValue:
    """A value with its mark, and without its text."""
    return ConfigValue(key=row.key, value="", is_secret=bool(row.is_secret or encrypted_with(row.value or "")))


def _with_key(row: Row[Any]) -> Row[Any]:
    if not isinstance(row.key, str):
        raise ConfigurationError("its key is no text")
    return row


def _is(table: Table, tenant_id: str, data_source: str) -> ColumnElement[bool]:
    return and_(table.c.tenant_id == tenant_id, table.c.data_source == data_source)


def _greater(left: ColumnElement[int], right: ColumnElement[int]) -> ColumnElement[int]:
    return case((left > right, left), else_=right)


def _source(row: Row[Any]) -> Source:
    source = Source(
        tenant_id=row.tenant_id,
        data_source=row.data_source,
        revision=f"{row.revision or 0}-{row.count}-{row.newest}",
        interval=row.interval,
        since=row.since,
        order="newest_first" if row.order == "newest_first" else "oldest_first",
    )
    if source.tenant_id != row.tenant_id:
        raise ConfigurationError(NOT_NORMAL)
    return source
