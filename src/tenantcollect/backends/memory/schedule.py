"""Due times and holds in dicts (floor: backends)."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from itertools import count

from attrs import evolve, frozen

from tenantcollect.backends.memory.tables import Store
from tenantcollect.keys import Key, Selection
from tenantcollect.schedule import Entry, Hold
from tenantcollect.windows import utc

__all__ = ["MemoryHolds", "MemorySchedule"]


@frozen
class MemorySchedule:
    """When to look at a key again."""

    _store: Store

    def due(self, selection: Selection, *, now: datetime, limit: int) -> list[Entry]:
        now = utc(now)
        due = [
            (entry.busy, entry.next_due_at, key, entry)
            for key, entry in self.entries(self._store.entries).items()
            if entry.next_due_at is not None and entry.next_due_at <= now and selection.matches(key)
        ]
        turns: defaultdict[tuple[bool, str], Iterator[int]] = defaultdict(count)
        in_turn = sorted(
            (busy, next(turns[busy, key.tenant_id]), at, key, entry) for busy, at, key, entry in sorted(due)
        )
        return [entry for *_, entry in in_turn[:limit]]

    def defer(self, seen: Entry, until: datetime | None, *, waiting: bool = False, fence: int | None = None) -> None:
        until, key = None if until is None else utc(until), seen.key
        with self._store.lock:
            entry, row = self._store.entries.get(key), self._store.rows.get(key)
            passed = fence is not None and (row is None or row.state.fence != fence)
            if entry and entry.version == seen.version and not passed:
                self._store.entries[key] = Entry(key=key, next_due_at=until, waiting=waiting, version=entry.version)

    def wake(self, keys: Collection[Key], *, at: datetime, every: bool = False) -> None:
        self._make_due(keys, at, lambda entry: every or entry.waiting)

    def trigger(self, keys: Collection[Key], *, at: datetime) -> None:
        self._make_due(keys, at, lambda _: True, triggered=True)

    def unpark(self, selection: Selection, *, at: datetime) -> None:
        chosen = [key for key in self._store.entries if selection.matches(key)]
        self._make_due(chosen, at, lambda entry: entry.waiting or entry.next_due_at is None)

    def _make_due(
        self, keys: Collection[Key], at: datetime, which: Callable[[Entry], bool], *, triggered: bool = False
    ) -> None:
        at = utc(at)
        with self._store.lock:
            for key in keys:
                entry = self._store.entries.get(key)
                if entry and which(entry):
                    sooner = at if triggered else min(at, entry.next_due_at or at)
                    self._store.entries[key] = evolve(
                        entry, next_due_at=sooner, triggered=entry.triggered or triggered, version=entry.version + 1
                    )

    def report(self, progress: Mapping[Key, str]) -> None:
        with self._store.lock:
            for key, line in progress.items():
                if key in self._store.entries:
                    self._store.entries[key] = evolve(self._store.entries[key], progress=line)

    def entries(self, keys: Collection[Key]) -> Mapping[Key, Entry]:
        with self._store.lock:
            return {
                key: evolve(self._store.entries[key], busy=self._store.live(key) is not None)
                for key in keys
                if key in self._store.entries
            }


@frozen
class MemoryHolds:
    """Reasons not to run."""

    _store: Store

    def place(self, hold: Hold) -> bool:
        scope = (hold.tenant_id, hold.data_source, hold.script, hold.reason)
        with self._store.lock:
            is_new = scope not in self._store.holds
            self._store.holds[scope] = hold
            return is_new

    def lift(self, selection: Selection, reasons: Collection[str]) -> list[Hold]:
        with self._store.lock:
            found = [
                scope
                for scope, hold in self._store.holds.items()
                if hold.reason in reasons and _selects(selection, hold)
            ]
            return [self._store.holds.pop(scope) for scope in found]

    def end(self, hold: Hold) -> bool:
        scope = (hold.tenant_id, hold.data_source, hold.script, hold.reason)
        with self._store.lock:
            return self._store.holds.get(scope) == hold and self._store.holds.pop(scope) is not None

    def held(self, tenant_ids: Collection[str] | None = None) -> list[Hold]:
        with self._store.lock:
            return [hold for hold in self._store.holds.values() if tenant_ids is None or hold.tenant_id in tenant_ids]


def _selects(selection: Selection, hold: Hold) -> bool:
    return all(
        chosen is None or value in chosen
        for chosen, value in (
            (selection.tenant_ids, hold.tenant_id),
            (selection.data_sources, hold.data_source),
            (selection.scripts, hold.script),
        )
    )
