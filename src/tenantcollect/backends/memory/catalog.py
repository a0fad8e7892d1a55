"""Sources and their config values in dicts (floor: backends)."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from attrs import evolve, frozen

from tenantcollect.backends.memory.tables import Store, refuse_connection
from tenantcollect.catalog import ConfigValue, Source

__all__ = ["MemoryCatalog"]


@frozen
class MemoryCatalog:
    """An :class:`~tenantcollect.catalog.EditableCatalog` in dicts."""

    _store: Store

    def sources(self, tenant_ids: Collection[str] | None = None) -> Iterable[Source]:
        with self._store.lock:
            found = [self._store.sources[name] for name in sorted(self._store.sources)]
        return [source for source in found if tenant_ids is None or source.tenant_id in tenant_ids]

    def env(self, tenant_id: str, data_source: str) -> Mapping[str, str]:
        return {stored.key: stored.value.reveal() for stored in self.values(tenant_id, data_source)}

    def version(self) -> object:
        with self._store.lock:
            return tuple(self._store.changes)

    @contextmanager
    def together(self) -> Iterator[None]:
        store = self._store
        with store.lock:
            sources, values = dict(store.sources), {name: dict(found) for name, found in store.values.items()}
            try:
                yield
            except BaseException:
                for kept, before in ((store.sources, sources), (store.values, values)):
                    kept.clear()
                    kept.update(before)  # type: ignore[arg-type]
                raise

    def values(
        self, tenant_id: str, data_source: str, *, connection: Any = None, without: Collection[str] = ()
    ) -> list[ConfigValue]:
        refuse_connection(connection)
        with self._store.lock:
            stored = list(self._store.values.get((tenant_id, data_source), {}).values())
        return [evolve(value, value="") if value.key in without else value for value in stored]

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
        refuse_connection(connection)
        name = (tenant_id, data_source)
        with self._store.lock:
            old = self._store.sources.get(name) or Source(tenant_id=tenant_id, data_source=data_source)
            self._store.sources[name] = evolve(old, revision=self._store.changed(), **settings)
            merged = {**self._store.values[name], **{value.key: value for value in values}}
            merged |= {key: evolve(merged[key], is_secret=True) for key in marked if key in merged}
            self._store.values[name] = {key: merged[key] for key in sorted(merged) if key not in removed}

    def remove(self, tenant_id: str, data_source: str) -> None:
        with self._store.lock:
            self._store.changed()
            self._store.sources.pop((tenant_id, data_source), None)
            self._store.values.pop((tenant_id, data_source), None)
