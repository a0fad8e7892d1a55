"""PROTOCOL section 9, rows edited by hand or written by another version: each costs its own key, and is told."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from shlex import split
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, Table, create_engine, text
from sqlalchemy.exc import DBAPIError

from tenantcollect import Orchestrator, connect
from tenantcollect.backends.sql.schema import tables
from tenantcollect.catalog import Source
from tests.bad_input.conftest import BOTH
from tests.bad_input.hub import COLLECTORS
from tests.bad_input.test_api import explained

OURS = tables()
ALL = (OURS.run, OURS.lease, OURS.hold, OURS.history, OURS.config, OURS.source)
COLUMNS = [column for table in ALL for column in table.columns if column.name != "id"]
HOUR = timedelta(hours=1)
SETTLED = ("up_to_date", "not_due")
DECOMPOSED = "e\u0301"
REPLAY = "collect it anew: tenantcollect replay bad hub thing"
RESUME = "tenantcollect resume bad hub"
MEND = f"mend what the detail names, then: {RESUME}"
NASTY = (
    *(None, "", "x", " x", "X" * 64, DECOMPOSED, "a\u200eb", "a\tb", "runnable", "erased", "rate_limited"),
    *("0", "1", "-5", "1.5", str(2**62), str(2**63 - 1), str(-(2**63)), -1, 1e308, float("inf"), b"\xff"),
    *("infinity", "-infinity", "2020-01-01 00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"),
    *("[", "{}", "NaN", '"abc"', '[["2026-01-01T00:00:00+00:00", "9999-01-01T00:00:00+00:00"]]'),
)
values = st.sampled_from(NASTY) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
some = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@contextmanager
def database(url: str) -> Iterator[Connection]:
    """The database, as a person with a shell has it."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def spoil(url: str, table: Table, **changes: Any) -> bool:
    """Write these values into the bad tenant's rows of ``table``; False if the database itself refuses them."""
    try:
        with database(url) as connection:
            sqlite = connection.dialect.name == "sqlite"
            kinds = {name: table.c[name].type.compile(connection.dialect).split(" COLLATE")[0] for name in changes}
            given = {name: f":{name}" if sqlite else f"CAST(CAST(:{name} AS text) AS {kinds[name]})" for name in kinds}
            assigned = ", ".join(f'"{name}" = {value}' for name, value in given.items())
            connection.execute(text(f"UPDATE {table.name} SET {assigned} WHERE tenant_id = 'bad'"), changes)
    except (DBAPIError, OverflowError):
        return False
    return True


def at(moment: datetime) -> str:
    """A time as SQLite stores it."""
    return moment.isoformat(timespec="microseconds")


def opened(**changes: Any) -> dict[str, Any]:
    """The columns of a window that its holder left open."""
    then = datetime.now(UTC) - 2 * HOUR
    bounds = {"open_start": at(then), "open_end": at(then + HOUR), "opened_at": at(then)}
    return {"open_window_id": "w", "open_owner": "me", "open_attempt": "1", **bounds, **changes}


def make_anew(url: str, hub: Orchestrator) -> None:
    """A bad tenant that has a row in every table, an open window and a hold that is over; both tenants are due."""
    with database(url) as connection:
        for table in ALL:
            connection.execute(text(f"DELETE FROM {table.name} WHERE tenant_id <> 'good'"))
    hub.configure("bad", "hub", {"WAY": "fine"})
    assert hub.run("bad").windows.completed == 1
    now = datetime.now(UTC)
    hub.pause("bad", until=now + HOUR)
    assert spoil(url, OURS.run, **opened())
    assert spoil(url, OURS.hold, until=at(now - HOUR))
    hub.trigger(None)


def newest(hub: Orchestrator) -> list[str]:
    """The good tenant's newest attempt."""
    return [row.window_id for row in hub.history("good", limit=1)]


def run_beside(hub: Orchestrator) -> None:
    """A pass that ends, and completes the good tenant's window; whatever may be read can be read before and after."""
    hub.trigger("good")
    read_all(hub)
    before = newest(hub)
    assert hub.run().error is None
    assert newest(hub) != before
    read_all(hub)


def read_all(hub: Orchestrator) -> None:
    """Read everything."""
    for read in (hub.status, hub.explain, hub.plan, hub.history, hub.configured):
        list(read())
    assert "rows" in {row.topic for row in hub.doctor()}


def act(hub: Orchestrator, action: str) -> None:
    """Do what an action says."""
    _, command, *words = split(action[action.index("tenantcollect ") :])
    getattr(hub, command)(*words)


@some
@given(column=st.sampled_from(COLUMNS), value=values)
@example(column=OURS.lease.c.version, value=str(2**63 - 1))
@example(column=OURS.run.c.window_limit, value=str(-(2**63)))
@example(column=OURS.history.c.warnings, value="5")
@example(column=OURS.config.c.value, value=b"\xff")
@example(column=OURS.config.c.key, value=b"\xff")
@BOTH
def test_any_value_in_any_column_costs_its_own_key_only(
    url: str, hub: Orchestrator, column: Column[Any], value: Any
) -> None:
    """The pass ends, the good tenant completes, everything can be read, and what is said of the bad one helps."""
    make_anew(url, hub)
    if not spoil(url, column.table, **{column.name: value}):
        return
    run_beside(hub)
    for row in hub.explain("bad", "hub", "thing"):
        if row.reason == "config_invalid" and row.action != MEND:
            assert row.action in (REPLAY, RESUME)
            act(hub, row.action)
            hub.run("bad")
            assert {again.reason for again in hub.explain("bad", "hub", "thing")} <= set(SETTLED)


@pytest.mark.parametrize("value", ["x", b"\xff", float("inf"), 1.5, -5, 2**62 + 1, 2**63 - 1])
@pytest.mark.parametrize("column", ["window_seq", "fence", "failures"])
@BOTH
def test_count_of_a_key_that_is_none(url: str, hub: Orchestrator, column: str, value: Any) -> None:
    """That key refuses by the name of the column, with a replay hint, which helps; others go on."""
    make_anew(url, hub)
    if not spoil(url, OURS.run, **{column: value}):
        return
    run_beside(hub)
    row = explained(hub)
    assert (row.reason, row.action) == ("config_invalid", REPLAY)
    assert column in row.detail
    hub.replay("bad", "hub", "thing")
    assert hub.run("bad").windows.failed == 0
    assert explained(hub).reason in SETTLED


@pytest.mark.parametrize("value", [0, -5, -(2**63), 2**63 - 1, 1e308, float("inf"), "x"])
@BOTH
def test_window_limit_that_is_none(url: str, hub: Orchestrator, value: Any) -> None:
    """It is as if no window had ever been too large."""
    make_anew(url, hub)
    spoil(url, OURS.run, window_limit=value)
    run_beside(hub)
    assert explained(hub).reason in SETTLED


@pytest.mark.parametrize("missing", ["open_start", "open_end", "open_owner", "open_attempt", "opened_at"])
@BOTH
def test_open_window_that_is_not_whole(url: str, hub: Orchestrator, missing: str) -> None:
    """It is none: nothing can be told of it."""
    make_anew(url, hub)
    assert spoil(url, OURS.run, **opened(**{missing: None}))
    run_beside(hub)
    assert explained(hub).reason in SETTLED
    assert [row.status for row in hub.history("bad") if row.status == "ABANDONED"] == []


@BOTH
def test_open_window_that_has_its_row(url: str, hub: Orchestrator) -> None:
    """History tells an attempt once."""
    make_anew(url, hub)
    [told] = hub.history("bad")
    assert spoil(url, OURS.run, **opened(open_window_id=told.window_id))
    run_beside(hub)
    assert explained(hub).reason in SETTLED
    assert [row for row in hub.history("bad") if row.window_id == told.window_id] == [told]


@pytest.mark.parametrize("reason", ["x", "", "runnable", "up_to_date", "dependency_error"])
@BOTH
def test_hold_of_an_unknown_reason(url: str, hub: Orchestrator, reason: str) -> None:
    """It holds, says what it is, and is lifted like any other."""
    make_anew(url, hub)
    assert spoil(url, OURS.hold, reason=reason, until=None)
    run_beside(hub)
    row = explained(hub)
    assert (row.reason, row.action) == ("config_invalid", RESUME)
    assert repr(reason) in row.detail
    assert hub.resume("bad")
    assert explained(hub).reason in SETTLED


@BOTH
def test_hold_that_began_nobody_knows_when(url: str, hub: Orchestrator) -> None:
    """It holds for its reason."""
    make_anew(url, hub)
    assert spoil(url, OURS.hold, since="infinity", until=None)
    run_beside(hub)
    assert (explained(hub).reason, explained(hub).since) == ("paused_by_user", None)
    assert hub.resume("bad")
    assert explained(hub).reason in SETTLED


@pytest.mark.parametrize("changes", [{"token": "x"}, {"token": "x", "expires_at": "infinity"}])
@BOTH
def test_lease_that_never_ends(url: str, hub: Orchestrator, changes: dict[str, Any]) -> None:
    """No lease lasts longer than the longest that is granted."""
    make_anew(url, hub)
    assert spoil(url, OURS.lease, **changes)
    run_beside(hub)
    assert explained(hub).reason in SETTLED


@BOTH
def test_lease_row_that_was_deleted(url: str, hub: Orchestrator) -> None:
    """It is said, and the first pass of the next process collects the key as before."""
    make_anew(url, hub)
    with database(url) as connection:
        connection.execute(text(f"DELETE FROM {OURS.lease.name} WHERE tenant_id = 'bad'"))
    assert "schedule is missing" in explained(hub).detail
    with connect(url, collectors=COLLECTORS) as another:
        another.run("bad")
        another.trigger("bad")
        assert another.run("bad").windows.completed == 1
    assert explained(hub).reason in SETTLED


@BOTH
def test_key_that_can_never_be_put_off(url: str, hub: Orchestrator) -> None:
    """A pass looks at it, and ends."""
    make_anew(url, hub)
    hub.run()
    hub.trigger("bad")
    hub.pause("bad")
    ignored = "BEFORE UPDATE ON {0} FOR EACH ROW WHEN (OLD.tenant_id = 'bad')"
    with database(url) as connection:
        if connection.dialect.name == "sqlite":
            body = "BEGIN SELECT RAISE(IGNORE); END"
        else:
            nothing = "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
            connection.execute(text(nothing))
            body = "EXECUTE FUNCTION nothing()"
        connection.execute(text(f"CREATE TRIGGER still {ignored.format(OURS.lease.name)} {body}"))
    run_beside(hub)
    assert explained(hub).reason == "paused_by_user"


@pytest.mark.parametrize("tenant_id", [DECOMPOSED, " x", "a\u200eb"])
@pytest.mark.parametrize("table", ALL, ids=lambda table: table.name)
@BOTH
def test_row_of_a_tenant_that_is_none(
    url: str, hub: Orchestrator, table: Table, tenant_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left out; ``doctor`` says so, and, where somebody reads it, the log, once."""
    make_anew(url, hub)
    assert spoil(url, table, tenant_id=tenant_id)
    run_beside(hub)
    told = [record.getMessage() for record in caplog.records if ascii(tenant_id) in record.getMessage()]
    assert len(told) == len(set(told)) == (table is not OURS.hold)
    assert all("tenant_id" in line for line in told)
    if table is not OURS.history:
        [finding] = [row for row in hub.doctor() if row.topic == "rows"]
        assert (finding.severity, finding.action) == ("problem", "correct these rows, or delete them")
        assert ascii(tenant_id) in finding.detail


@BOTH
def test_state_that_is_older_than_its_history(url: str, hub: Orchestrator) -> None:
    """What was sealed already is not sealed again: the key refuses with a replay hint, which helps; others go on."""
    make_anew(url, hub)
    assert spoil(url, OURS.run, window_seq="0")
    hub.trigger("good")
    report = hub.run()
    assert report.error is None
    [row] = [row for row in report.keys if row.tenant_id == "bad"]
    assert (row.reason, row.action) == ("config_invalid", REPLAY)
    assert (explained(hub).reason, explained(hub).action) == ("config_invalid", REPLAY)
    hub.replay("bad", "hub", "thing")
    assert hub.run("bad").windows.failed == 0
    assert explained(hub).reason in SETTLED


class Catalog:
    """A host's own tenants, one of which it has configured like this."""

    def __init__(self, **bad: Any) -> None:
        self.bad = bad

    def sources(self, tenant_ids: Any = None) -> list[Source]:
        known = {"good": {}, "bad": self.bad}
        chosen = known if tenant_ids is None else tenant_ids
        return [Source(tenant_id=name, data_source="hub", **known[name]) for name in chosen]

    def env(self, tenant_id: str, data_source: str) -> Mapping[str, str]:
        return {}

    def version(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interval", timedelta(-5)),
        ("interval", timedelta.max),
        ("interval", 5),
        ("since", "2026"),
        ("since", datetime(2026, 1, 2)),  # noqa: DTZ001 - that is what is wrong with it
        ("since", datetime.max.replace(tzinfo=UTC)),
        ("order", "x"),
    ],
)
def test_source_of_a_host_that_is_configured_wrongly(url: str, name: str, value: Any) -> None:
    """Only that source's keys wait, with the name of what is wrong, and none is made with a wrong history start."""
    catalog = Catalog(**{name: value})
    with connect(url, collectors=COLLECTORS, catalog=catalog) as hub:
        assert hub.run().windows.completed == 1
        row = explained(hub)
        assert (row.reason, row.action) == ("config_invalid", MEND)
        assert name in row.detail
        read_all(hub)
        catalog.bad = {}
        hub.resume("bad")
    with connect(url, collectors=COLLECTORS, catalog=catalog) as hub:
        assert hub.run().windows.completed == 1
