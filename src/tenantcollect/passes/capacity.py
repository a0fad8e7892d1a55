"""Who may have a slot, so that no tenant takes them all (G4)."""

from collections import Counter
from collections.abc import Iterable

from attrs import define, field

from tenantcollect.keys import Key
from tenantcollect.schedule import Entry

__all__ = ["Capacity"]

LEAST_PAGE, MOST_PAGE = 8, 128


@define
class Capacity:
    """How many keys may run at once: of one tenant at most half the slots, so that no tenant takes them all;
    of one tenant's data source as many as the collector allows (G4).
    """

    slots: int
    page: int = field()
    """How many keys to decide about at once: twice the slots while they are full, so that it is seen whether others
    wait for one; more and more while some stay free.
    """
    _running: set[Key] = field(factory=set)
    _admitted: Counter[str] = field(factory=Counter)

    @page.default
    def _least(self) -> int:
        return max(LEAST_PAGE, 2 * self.slots)

    def turn_page(self) -> None:
        """Size the next page, after slots were given to those of the last one."""
        self.page = max(self._least(), min(2 * self.page, MOST_PAGE) if self.free else 0)

    @property
    def free(self) -> int:
        """How many more keys may be started."""
        return max(0, self.slots - len(self._running))

    def in_turn(self, entries: Iterable[Entry]) -> list[Entry]:
        """``entries``, those first whose tenant had fewer slots so far: who has thousands of keys that are due for
        longer does not keep another from its first (G4).
        """
        return sorted(entries, key=lambda entry: self._admitted[entry.key.tenant_id])

    def admit(self, key: Key, per_source: int) -> bool:
        """Take a slot for ``key`` if its tenant and data source have one left."""
        mine = [other for other in self._running if other.tenant_id == key.tenant_id]
        same_source = sum(other.data_source == key.data_source for other in mine)
        if not self.free or len(mine) >= max(1, (self.slots + 1) // 2) or same_source >= per_source:
            return False
        self._running.add(key)
        self._admitted[key.tenant_id] += 1
        return True

    def leave(self, keys: Iterable[Key]) -> None:
        """Give the slots of ``keys`` back."""
        self._running.difference_update(keys)
