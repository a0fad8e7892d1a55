"""The checker of the storms finds each kind of harm in rows that were spoiled by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.storm.checker import facts_findings
from tests.acceptance.storm.collectors import LABEL, SCRIPTS, seconds_of

Row = dict[str, Any]
SECOND = 1_000_000
COMPLETE = {"acme": (0, 4 * SECOND), "globex": (0, 4 * SECOND)}


def sound() -> list[Row]:
    """The rows of two windows per key, as complete runs write them."""
    scripts = (*SCRIPTS, LABEL)
    return [row for tenant in COMPLETE for script in scripts for n in (0, 2) for row in window(tenant, script, n)]


def window(tenant: str, script: str, number: int) -> list[Row]:
    """The rows of two seconds."""
    start, end = number * SECOND, (number + 2) * SECOND
    told: Row = {"env_tenant": tenant, "tenant_id": tenant, "bound_to": tenant, "script": script}
    told |= {"window_start": start, "window_end": end, "covered": None}
    events = [{**told, "kind": "event", "at": second} for second in seconds_of(start, end)]
    if script == LABEL:
        return events
    return [{**told, "kind": "begin", "at": None}, *events, {**told, "kind": "end", "at": 2, "covered": 2}]


def kinds(rows: list[Row]) -> set[str]:
    """What the checker calls it."""
    return {finding.kind for finding in facts_findings(rows, COMPLETE)}


def test_sound_rows_are_sound() -> None:
    """Nothing is found where nothing is wrong."""
    assert not kinds(sound())


@pytest.mark.parametrize("number", range(8))
def test_each_row_that_is_doubled_or_lost_is_found(number: int) -> None:
    """G2: whichever of a key's rows is there twice, or not at all."""
    rows = sound()
    assert kinds([*rows, rows[number]]) == {"duplicated"}
    assert "partial" in kinds([row for row in rows if row is not rows[number]])


def spoiled(change: Callable[[Row], None]) -> list[Row]:
    """Sound rows, the last of which that ends a window was changed."""
    rows = sound()
    change([row for row in rows if row["kind"] == "end"][-1])
    return rows


@pytest.mark.parametrize("column", ["env_tenant", "tenant_id", "bound_to"])
def test_a_row_of_another_tenant_is_found(column: str) -> None:
    """G4: the collector, its call and the server must name the same tenant."""
    assert "foreign" in kinds(spoiled(lambda row: row.update({column: "initech"})))


def test_a_window_before_its_upstream_is_found() -> None:
    """G5: the dependent saw less than all of its upstream."""
    assert kinds(spoiled(lambda row: row.update(covered=1))) == {"unordered"}


@pytest.mark.parametrize(
    ("lost", "kind"), [((0, "acme"), "missing"), ((2, "acme"), "missing")], ids=["first window", "last window"]
)
def test_a_whole_window_that_is_lost_is_found(lost: tuple[int, str], kind: str) -> None:
    """G1: no instant of what a complete run covers is uncollected."""
    start, tenant = lost[0] * SECOND, lost[1]
    assert kinds([row for row in sound() if (row["window_start"], row["tenant_id"]) != (start, tenant)]) == {kind}


def test_windows_that_overlap_are_found() -> None:
    """G2: two windows may not share an instant, even if each is whole in itself."""
    assert "duplicated" in kinds([*sound(), *window("acme", SCRIPTS[0], 1)])


def test_a_second_of_a_replayed_script_that_is_doubled_or_lost_is_found() -> None:
    """G2: its windows may be cut anew, its events are there once."""
    rows = sound()
    assert kinds([*rows, rows[-1]]) == {"duplicated"}
    assert kinds(rows[:-1]) == {"missing"}


def test_a_window_that_was_only_begun_is_judged_as_far_as_it_goes() -> None:
    """What a checkpoint made durable past what is due may be unfinished, but neither foreign nor doubled."""
    begun = window("acme", SCRIPTS[0], 4)[:2]
    assert not kinds([*sound(), *begun])
    assert kinds([*sound(), *begun, begun[1]]) == {"duplicated"}
    assert kinds([*sound(), {**begun[0], "tenant_id": "initech"}]) == {"foreign"}
