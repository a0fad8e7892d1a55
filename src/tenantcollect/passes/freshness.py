"""Which keys have fallen behind, so that each is told once."""

import threading
from datetime import datetime

from attrs import define, field

from tenantcollect.events import KeyStale
from tenantcollect.keys import Key
from tenantcollect.scheduling import Facts, is_stale, terms_of

__all__ = ["Freshness"]


@define(eq=False)
class Freshness:
    """Remembers, for all passes of one orchestrator, which keys it has called stale; forgets those that have caught up
    and those that nobody collects any more.
    """

    _stale: set[Key] = field(factory=set)
    _lock: threading.Lock = field(factory=threading.Lock)

    def news_of(self, facts: Facts, key: Key) -> KeyStale | None:
        """The event to send, if ``key`` has become stale since it was last seen fresh."""
        state = facts.states.get(key)
        fresh_until = state.coverage.end if state and state.coverage else None
        stale = fresh_until is not None and _is_behind(facts, key, fresh_until)
        with self._lock:
            known = key in self._stale
            (self._stale.add if stale else self._stale.discard)(key)
        return KeyStale(key=key, fresh_until=fresh_until) if stale and not known else None


def _is_behind(facts: Facts, key: Key, fresh_until: datetime) -> bool:
    collector = facts.collectors.get(key.collector)
    if collector is None:
        return False
    terms = terms_of(collector, facts.sources.get(key.data_source))
    return is_stale(facts.now - terms.settle, fresh_until, terms.interval)
