"""Whether a storm did any harm: first from the collectors' own rows alone, then whether our tables agree with them."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from tenantcollect.backends.sql.schema import tables
from tests.acceptance.storm.collectors import LABEL, SCRIPTS, SILENT, UPSTREAMS, micros, row, seconds_of

__all__ = ["OURS", "Expected", "Finding", "Window", "facts_findings", "findings", "process_of"]

OURS = tables()
Key = tuple[str, str]
Window = tuple[int, int]


@frozen
class Finding:
    """One thing that must not be."""

    kind: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.what}"


@frozen(kw_only=True)
class Expected:
    """What must hold after a storm.

    ``complete`` = what must be covered, for each tenant; ``quiet_at`` = when the faults ended (microseconds);
    ``ended`` = the processes that were told to end: of what they did in the quiet they leave nothing behind.
    ``calls`` = how often a collector was called, by "tenant script start".
    """

    complete: Mapping[str, Window]
    quiet_at: int
    ttl: int
    ended: Collection[int]
    calls: Mapping[str, int]


def findings(engine: sa.Engine, expected: Expected) -> Iterator[Finding]:
    """Everything wrong, the facts first, when no worker is left."""
    complete = expected.complete
    with engine.connect() as connection:
        rows = [dict(one) for one in connection.execute(sa.select(row).order_by(row.c.id)).mappings()]
        yield from facts_findings(rows, complete)
        yield from _ours(connection, rows, expected)


# --- the collectors' own rows


def facts_findings(rows: Iterable[Mapping[str, Any]], complete: Mapping[str, Window]) -> Iterator[Finding]:
    """What is doubled, missing, partial or foreign in the rows of tenants that must cover ``complete``."""
    writing = (*SCRIPTS, LABEL)
    by_key: dict[Key, list[Mapping[str, Any]]] = {(tenant, script): [] for tenant in complete for script in writing}
    for one in rows:
        names = {one["env_tenant"], one["tenant_id"], one["bound_to"]}
        if len(names) != 1 or (one["tenant_id"], one["script"]) not in by_key:
            yield Finding("foreign", f"{one['tenant_id']}.{one['script']}", f"a row of {sorted(map(str, names))}")
        else:
            by_key[one["tenant_id"], one["script"]].append(one)
    for key, its in by_key.items():
        judge = _of_label if key[1] == LABEL else _of_key
        yield from judge(key, its, *complete[key[0]])


def _of_label(key: Key, rows: Sequence[Mapping[str, Any]], start: int, end: int) -> Iterator[Finding]:
    """Windows may have been replayed along other bounds: each second is there once all the same."""
    where, counts = ".".join(key), Counter((one["kind"], one["at"]) for one in rows)
    if doubled := [what for what, times in counts.items() if times > 1]:
        yield Finding("duplicated", where, f"{doubled}")
    if lacking := {("event", second) for second in seconds_of(start, end)} - set(counts):
        yield Finding("missing", where, f"{sorted(lacking)}")
    if strange := [kind for kind, _ in counts if kind != "event"]:
        yield Finding("foreign", where, f"{strange} does not belong to it")


def unfinished_in(rows: Iterable[Mapping[str, Any]], due: int) -> set[Window]:
    """Windows of one key from ``due`` on which a checkpoint began and nobody has ended yet."""
    kinds: dict[Window, set[str]] = defaultdict(set)
    for one in rows:
        kinds[_bounds(one)].add(one["kind"])
    return {window for window, its in kinds.items() if "begin" in its and "end" not in its and window[0] >= due}


def _key(one: Mapping[str, Any]) -> Key:
    return one["tenant_id"], one["script"]


def _bounds(one: Mapping[str, Any]) -> Window:
    return one["window_start"], one["window_end"]


def _of_key(key: Key, rows: Sequence[Mapping[str, Any]], start: int, end: int) -> Iterator[Finding]:
    where = ".".join(key)
    by_window: dict[Window, list[Mapping[str, Any]]] = defaultdict(list)
    for one in rows:
        by_window[_bounds(one)].append(one)
    unfinished = unfinished_in(rows, end)
    for window, its in sorted(by_window.items()):
        yield from _of_window(f"{where} {told(window)}", key[1], window, its, whole=window not in unfinished)
    windows = sorted(by_window)
    for before, after in pairwise(windows):
        if after[0] < before[1]:
            yield Finding("duplicated", where, f"{told(before)} and {told(after)} overlap")
        if after[0] > before[1] < end:
            yield Finding("missing", where, f"nothing between {told(before)} and {told(after)}")
    if not windows or windows[0][0] != start:
        yield Finding("missing", where, f"does not begin at {told((start, start))}")
    elif windows[-1][1] < end:
        yield Finding("missing", where, f"ends with {told(windows[-1])}, not at {told((end, end))}")


def _of_window(
    where: str, script: str, window: Window, rows: Sequence[Mapping[str, Any]], *, whole: bool
) -> Iterator[Finding]:
    """A window is one begin, each whole second once, one end; its upstream covered it when it was written (G5)."""
    seconds = seconds_of(*window)
    counts = Counter((one["kind"], one["at"] if one["kind"] == "event" else None) for one in rows)
    wanted = {("begin", None), ("end", None), *(("event", second) for second in seconds)}
    if doubled := [what for what, times in counts.items() if times > 1]:
        yield Finding("duplicated", where, f"{doubled}")
    if whole and (lacking := wanted - set(counts)):
        yield Finding("partial", where, f"without {sorted(lacking, key=str)}")
    if strange := set(counts) - wanted:
        yield Finding("foreign", where, f"{sorted(strange, key=str)} does not belong to it")
    for one in rows:
        if one["kind"] == "end" and one["covered"] < len(seconds):
            what = UPSTREAMS.get(script, "it")
            yield Finding("unordered", where, f"{what} had {one['covered']} of {len(seconds)} when it was written")


def told(window: Window) -> str:
    """A window to read."""
    start, end = (window[0] / 1_000_000, window[1] / 1_000_000)
    return f"[{start:.6f}, {end:.6f})"


# --- our tables


def _ours(connection: sa.Connection, rows: Sequence[Mapping[str, Any]], expected: Expected) -> Iterator[Finding]:
    """History, coverage and facts are the same windows; nothing is left open, guarded or leased."""
    history, states = _history(connection), {(r.tenant_id, r.script): r for r in _all(connection, OURS.run)}
    facts: dict[Key, list[Mapping[str, Any]]] = defaultdict(list)
    for one in rows:
        facts[_key(one)].append(one)
    for key in sorted(facts.keys() | history.keys() | states.keys()):
        where, state, sealed = ".".join(key), states.get(key), history.get(key, {})
        unfinished = unfinished_in(facts[key], expected.complete.get(key[0], (0, 0))[1])
        windows = {_bounds(one) for one in facts[key]} - unfinished if key[1] in SCRIPTS else set(sealed)
        if odd := windows ^ set(sealed):
            yield Finding("history", where, f"{[told(w) for w in sorted(odd)]} is in rows or history, not in both")
        if key[1] != LABEL:
            yield from _sealed_once(where, sealed)
        covered = [] if state is None else _pieces(state.coverage)
        if covered != _merged(windows):
            yield Finding("coverage", where, f"{covered} instead of {_merged(windows)}")
        resumed = {_resumed(state.resume)} if state is not None and state.resume else set()
        for window in unfinished ^ resumed:
            what = f"{told(window)} was begun and cannot be resumed, or was never begun"
            yield Finding("resume", where, what)
        if key[1] == SILENT and state is not None:
            yield from _counted(where, sealed, state.cursor, *expected.complete[key[0]])
    yield from _order(history)
    yield from _unnoted(connection, expected.calls)
    yield from _leftovers(connection, expected)


def _sealed_once(where: str, sealed: Mapping[Window, Sequence[int]]) -> Iterator[Finding]:
    for window, times in sealed.items():
        if len(times) > 1:
            yield Finding("history", where, f"{told(window)} was sealed {len(times)} times")
    for before, after in pairwise(sorted(sealed)):
        if after[0] < before[1]:
            yield Finding("history", where, f"{told(before)} and {told(after)} were both sealed")


def _counted(
    where: str, sealed: Mapping[Window, Sequence[int]], cursor: Any, start: int, end: int
) -> Iterator[Finding]:
    """What writes no row is complete too; its cursor was moved by the windows that moved its newest end, no other."""
    if not any(a <= start and end <= b for a, b in _merged(sealed)):
        yield Finding("missing", where, f"{_merged(sealed)} is not all of {told((start, end))}")
    moved, newest = 0, 0
    for window in sealed:
        moved, newest = (moved + 1, window[1]) if window[1] > newest else (moved, newest)
    if cursor != {"until": newest, "seals": moved}:
        yield Finding("cursor", where, f"{cursor} after {moved} windows until {newest}")


def _unnoted(connection: sa.Connection, calls: Mapping[str, int]) -> Iterator[Finding]:
    """Every call of a collector has left its attempt, or is the one that is still open (G8)."""
    noted = Counter(
        f"{one.tenant_id} {one.script} {micros(one.window_start)}"
        for one in _all(connection, OURS.history)
        if one.status != "REPLAYED"
    )
    noted.update(
        f"{one.tenant_id} {one.script} {micros(one.open_start)}"
        for one in _all(connection, OURS.run)
        if one.open_start is not None
    )
    for call, times in calls.items():
        if times > noted[call]:
            yield Finding("history", call, f"was called {times} times in {noted[call]} attempts (G8)")


def _history(connection: sa.Connection) -> dict[Key, dict[Window, list[int]]]:
    """When each window was sealed; the windows of a key as they were."""
    found: dict[Key, dict[Window, list[int]]] = defaultdict(lambda: defaultdict(list))
    for one in sorted(_all(connection, OURS.history), key=attrgetter("window_seq")):
        if one.status == "COMPLETED":
            window = (micros(one.window_start), micros(one.window_end))
            found[one.tenant_id, one.script][window].append(micros(one.completed_at))
    return found


def _order(history: Mapping[Key, Mapping[Window, Sequence[int]]]) -> Iterator[Finding]:
    """No dependent window was sealed before its upstream's were (G5)."""
    for (tenant, script), windows in history.items():
        upstream = history.get((tenant, UPSTREAMS.get(script, "")), {})
        for (start, end), sealed in windows.items():
            needed = [at for (a, b), times in upstream.items() if a < end and b > start for at in times]
            if needed and min(sealed) < max(needed):
                yield Finding("unordered", f"{tenant}.{script}", f"{told((start, end))} was sealed before its upstream")


def _leftovers(connection: sa.Connection, expected: Expected) -> Iterator[Finding]:
    """No guard; no lease and no open window of who ended as told; no lease that outlives its killed holder (X14)."""
    for one in _all(connection, OURS.guard):
        yield Finding("leftover", "window_guard", one.window_id)
    for one in _all(connection, OURS.lease):
        lasting = one.token is not None and micros(one.expires_at) > expected.quiet_at + expected.ttl
        if lasting or _kept(one.owner, one.acquired_at, expected):
            yield Finding("leftover", f"{one.tenant_id}.{one.script}", f"leased by {one.owner} until {one.expires_at}")
    for one in _all(connection, OURS.run):
        if _kept(one.open_owner, one.opened_at, expected):
            yield Finding("leftover", f"{one.tenant_id}.{one.script}", f"a window is open, of {one.open_owner}")


def _kept(owner: str | None, since: datetime | None, expected: Expected) -> bool:
    """Whether somebody who ended as told kept what it took in the quiet."""
    return since is not None and micros(since) > expected.quiet_at and process_of(owner) in expected.ended


def process_of(owner: str | None) -> int | None:
    """The process that an owner names: host:process:orchestrator."""
    return int(owner.split(":")[-2]) if owner else None


def _all(connection: sa.Connection, table: sa.Table) -> Sequence[Any]:
    return connection.execute(sa.select(table)).all()


def _pieces(coverage: str) -> list[Window]:
    return [(_at(start), _at(end)) for start, end in json.loads(coverage)]


def _resumed(resume: Mapping[str, str]) -> Window:
    return _at(resume["start"]), _at(resume["end"])


def _at(text: str) -> int:
    return micros(datetime.fromisoformat(text))


def _merged(windows: Iterable[Window]) -> list[Window]:
    merged: list[Window] = []
    for start, end in sorted(windows):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
