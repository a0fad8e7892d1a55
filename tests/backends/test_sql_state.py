import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from sqlalchemy import text, update

from tenantcollect.backends.sql.schema import tables
from tenantcollect.catalog import ConfigValue
from tenantcollect.errors import ConfigurationError, CoverageInvalid, StorageError
from tenantcollect.keys import EVERYTHING, Key, Selection
from tenantcollect.state import NewKey, Revision
from tenantcollect.testing.sql import PostgresqlHarness, SqlHarness, SqliteHarness
from tenantcollect.testing.steps import (
    DAY,
    KEY,
    START,
    always,
    attempts,
    collect,
    deferred,
    key,
    made,
    opened,
    read,
    seal_of,
    window,
)
from tenantcollect.windows import NOTHING


@pytest.fixture(params=["sqlite", "postgresql"])
def harness(request: pytest.FixtureRequest) -> Iterator[SqlHarness]:
    """A migrated database of each kind."""
    kind = {"sqlite": SqliteHarness, "postgresql": PostgresqlHarness}[request.param]
    harness = kind(request.getfixturevalue(f"migrated_{request.param}"))
    made(harness.backend, [KEY, key("beta")])
    yield harness
    harness.close()


@pytest.mark.parametrize("column", ["history_start", "last_fetched_data_date", "opened_at"])
def test_a_time_that_python_cannot_hold_spoils_no_other_key(harness: SqlHarness, column: str) -> None:
    """Somebody wrote ``infinity`` by hand: that row is read all the same, and every other one, too."""
    harness.execute(text(f"UPDATE {tables().run.name} SET {column} = 'infinity' WHERE tenant_id = 'acme'"))
    states = {state.key: state for state in harness.backend.state.load(EVERYTHING)}
    assert (states[KEY].coverage is None) == (column == "history_start")
    assert (states[KEY].problem is None) == (column != "history_start")
    assert states[key("beta")].coverage == NOTHING


@pytest.mark.parametrize("spoiled", ["", "{", "null", '"text"', "[[1, 2]]", '[["x", "y"]]', "[" * 5000])
def test_coverage_that_was_edited_by_hand_is_a_problem_of_its_key(harness: SqlHarness, spoiled: str) -> None:
    """It is told with the cure, never repaired in silence; a replay makes the key sound again."""
    harness.spoil(KEY, spoiled)
    state = read(harness.backend)
    assert state.coverage is None
    assert "replay" in (state.problem or "")
    assert read(harness.backend, key("beta")).problem is None
    harness.backend.state.revise([KEY], always(Revision(coverage=NOTHING)))
    assert read(harness.backend).coverage == NOTHING


@pytest.mark.parametrize(
    ("column", "spoiled"),
    [("cursor", "["), ("cursor", "[" * 100_000), ("resume", "[" * 100_000)],
)
def test_what_else_was_edited_by_hand_spoils_no_other_key(harness: SqlHarness, column: str, spoiled: object) -> None:
    """What cannot be read is as good as none; every other key is read all the same."""
    statement = text(f"UPDATE {tables().run.name} SET {column} = :spoiled WHERE tenant_id = 'acme'")
    harness.execute(statement.bindparams(spoiled=spoiled))
    states = {state.key: state for state in harness.backend.state.load(EVERYTHING)}
    assert getattr(states[KEY], column) is None
    assert key("beta") in states


def test_many_keys_are_made_read_and_told_page_by_page(harness: SqlHarness) -> None:
    """More keys than fit a page come in the order of keys, whole, and once."""
    many = [Key(f"tenant-{number:05}", "git", script) for number in range(900) for script in ("branch", "commit")]
    new = [NewKey(key=each, history_start=START) for each in reversed(many)]
    assert harness.backend.state.ensure(new, due_at=START) == len(many)
    chosen = Selection([each.tenant_id for each in many])
    assert [state.key for state in harness.backend.state.load(chosen)] == many
    assert [state.key for state in harness.backend.state.load(many)] == many
    assert len(harness.backend.state.schedule.entries(many)) == len(many)
    taken = harness.backend.locks.acquire(many, owner="me", ttl=timedelta(minutes=1))
    assert sorted(lease.key for lease in taken) == many
    assert len(harness.backend.locks.renew(taken, ttl=timedelta(minutes=1))) == len(many)


def test_history_is_paged_without_gap_or_double(harness: SqlHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts that ended in the same instant are told once each, across pages of any size."""
    history = tables().history
    for day in range(12):
        collect(harness, day=day)
    harness.execute(update(history).values(completed_at=datetime(2026, 5, 1, tzinfo=UTC)))
    state = harness.backend.state
    whole = attempts(harness.backend)
    assert [row.window_seq for row in whole] == list(reversed(range(12)))
    monkeypatch.setattr("tenantcollect.backends.sql.state.PAGE", 5)
    assert attempts(harness.backend) == whole
    assert len(list(state.history(EVERYTHING, limit=7))) == 7
    assert list(state.history(EVERYTHING, limit=0)) == []


def test_a_seal_that_history_knows_already_stops_the_key(harness: SqlHarness) -> None:
    """The third net: where the state was set back behind history, the key asks for a replay."""
    collect(harness, 1)
    harness.execute(update(tables().run).values(window_seq=0, coverage="[]"))
    transaction = harness.backend.state.transaction(opened(harness.backend, day=1))
    harness.write(transaction, 2)
    with pytest.raises(CoverageInvalid, match="replay"):
        transaction.seal(seal_of(transaction.claim))
    assert harness.rows() == [("acme", 1)]


def test_what_is_no_json_is_refused_before_anything_is_sent(harness: SqlHarness) -> None:
    """A cursor that JSON cannot say fails the seal with a word about it, and nothing is kept."""
    transaction = harness.backend.state.transaction(opened(harness.backend))
    harness.write(transaction, 1)
    with pytest.raises(ConfigurationError, match="JSON"):
        transaction.seal(evolve(seal_of(transaction.claim), cursor=(float("nan"),)))
    assert harness.rows() == []
    assert read(harness.backend).cursor is None


def test_errors_of_the_database_never_repeat_a_row(harness: SqlHarness) -> None:
    """A message names class, code and constraint; not the values, nor the statement's parameters."""
    too_long = ConfigValue(key="k" * 300, value="a very secret value")
    with pytest.raises(StorageError) as refused:
        harness.backend.catalog.write("acme", "git", [too_long], settings={})
    shown = f"{refused.value!r} {refused.value}"
    assert "secret value" not in shown
    assert "config" in shown or "22001" in shown


def test_naive_times_are_refused_at_the_border(harness: SqlHarness) -> None:
    """A time without a zone never reaches the database."""
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - the point
    state = harness.backend.state
    for call in (
        lambda: deferred(state, KEY, naive),
        lambda: state.schedule.due(EVERYTHING, now=naive, limit=1),
        lambda: state.schedule.wake([KEY], at=naive, every=True),
        lambda: state.ensure([NewKey(key=KEY, history_start=START)], due_at=naive),
        lambda: list(state.history(EVERYTHING, limit=1, before=naive)),
    ):
        with pytest.raises(ConfigurationError, match="time zone"):
            call()


def test_the_clock_is_the_databases(harness: SqlHarness) -> None:
    """Aware, in UTC, and near to this machine's."""
    now = harness.backend.state.now()
    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_window_begun_before_a_fork_is_its_parents(harness: SqlHarness) -> None:
    """The child can neither read, nor write, nor seal, nor abandon it; the parent goes on."""
    transaction = harness.backend.state.transaction(opened(harness.backend))
    harness.write(transaction, 1)
    child = os.fork()
    if not child:
        refused = 0
        for deed in (
            lambda: harness.write(transaction, 2),
            lambda: transaction.read("SELECT 1"),
            lambda: transaction.seal(seal_of(transaction.claim)),
        ):
            try:
                deed()
            except Exception:  # noqa: BLE001 - whatever it is
                refused += 1
        transaction.abandon()
        os._exit(0 if refused == 3 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    harness.write(transaction, 3)
    transaction.seal(seal_of(transaction.claim))
    assert harness.rows() == [("acme", 1), ("acme", 3)]
    assert read(harness.backend).coverage is not None
    assert window().duration == DAY


def test_progress_of_any_text_can_be_told(harness: SqlHarness) -> None:
    """NUL, surrogates and very long lines are made storable, and hinder no beat."""
    harness.backend.state.schedule.report({KEY: "a\0b\ud800" + "x" * 5000, key("beta"): "fine"})
    entries = harness.backend.state.schedule.entries([KEY, key("beta")])
    assert 0 < len(entries[KEY].progress or "") <= 4000
    assert entries[key("beta")].progress == "fine"


@pytest.mark.parametrize("name", ["open_end", "open_owner", "opened_at"])
def test_nobody_stands_in_a_window_of_which_a_part_is_missing(harness: SqlHarness, name: str) -> None:
    """Whoever asks what became of it learns that there is none."""
    claim = opened(harness.backend)
    assert harness.backend.state.standing(claim) == claim
    harness.execute(text(f"UPDATE {tables().run.name} SET {name} = NULL WHERE tenant_id = 'acme'"))
    assert harness.backend.state.standing(claim) is None
