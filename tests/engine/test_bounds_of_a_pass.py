"""What a pass may take, what it says when that ends it, and what must not end it: G4, G7, G9."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from tenantcollect import CollectorOptions, ConfigurationError, Orchestrator
from tenantcollect.backends.memory.transaction import MemoryTransaction
from tenantcollect.catalog import Source
from tenantcollect.errors import OutcomeUnknown, TransactionConflict, WindowCancelled
from tenantcollect.keys import EVERYTHING
from tenantcollect.passes import sweep

from .conftest import START, Calls, collector, recording

DAY = timedelta(days=1)
ONE_DAY = CollectorOptions(initial_range=DAY)


class HostCatalog:
    """A catalog of the host's own, which can be told to fail."""

    def __init__(self, env, *, fail=False):
        self.stored, self.fail = env, fail

    def sources(self, tenant_ids=None):
        if self.fail:
            raise OSError("the host's table is locked")
        yield Source(tenant_id="t1", data_source="acme")

    def env(self, tenant_id, data_source):
        return self.stored

    def version(self):
        return 1


def with_catalog(backend, clock, catalog, run):
    """An orchestrator on a catalog of the host's own."""
    collectors = {"acme.a": collector(run, options=ONE_DAY)}
    return Orchestrator(state=backend.state, locks=backend.locks, catalog=catalog, clock=clock, collectors=collectors)


def test_g4_checkpoints_without_an_end_do_not_hold_a_slot_for_ever(make):
    """A window that only ever saves its place is given up after ten times its timeout."""

    def endless(context, **_):
        while True:
            context.resume = (context.resume or 0) + 1
            context.checkpoint()

    options = CollectorOptions(initial_range=DAY, window_timeout=timedelta(milliseconds=50))
    orchestrator = make({"acme.a": collector(recording(Calls(), endless), options=options)})
    orchestrator.configure("t1", "acme", {})
    report = orchestrator.run()
    assert report.windows.failed == 1
    [row] = orchestrator.history()
    assert "WindowTimedOut" in row.error


def test_g4_parts_without_an_end_do_not_hold_a_slot_for_ever(make):
    """Nor is a window that seals ever smaller parts of itself; what it sealed stays."""

    def endless(start, end, context, **_):
        patience = time.monotonic() + 10
        while time.monotonic() < patience:
            context.checkpoint(context.window.start + (end - context.window.start) / 1000)

    options = CollectorOptions(initial_range=DAY, window_timeout=timedelta(milliseconds=50))
    orchestrator = make({"acme.a": collector(recording(Calls(), endless), options=options)})
    orchestrator.configure("t1", "acme", {})
    report = orchestrator.run()
    assert report.windows.failed == 1
    assert report.windows.completed > 10
    assert "WindowTimedOut" in next(orchestrator.history(limit=1)).error


@pytest.mark.parametrize("how", ["stop", "time"])
@pytest.mark.parametrize("then", ["passes it on", "swallows it", "takes offence"])
def test_a_pass_that_is_to_end_does_so_where_a_part_was_sealed(make, how, then):
    """As between two windows: nothing has failed, whatever the collector makes of it; the next pass has the rest."""
    calls = Calls()

    def in_halves(start, end, context, **_):
        if len(calls.made) == 1:
            orchestrator.stop() if how == "stop" else Event().wait(0.4)
        try:
            context.checkpoint(start + (end - start) / 2)
        except WindowCancelled:
            if then == "passes it on":
                raise
            assert then == "swallows it"
        return 1

    orchestrator = make({"acme.a": collector(recording(calls, in_halves), options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {})
    report = orchestrator.run(max_duration=0.3)
    assert (report.windows.completed, report.windows.failed, report.error) == (1, 0, None)
    assert [row.reason for row in report.keys] == ["runnable"]
    assert [row.status for row in orchestrator.history()] == ["COMPLETED"]
    assert orchestrator.run().windows.failed == 0
    assert calls.of("t1") == [(START - DAY, START), (START - DAY / 2, START)]
    assert next(orchestrator.status()).coverage == ((START - DAY, START),)


def test_a_collector_may_tidy_up_where_its_turn_ends_with_a_part(make, caplog):
    """It has the time of its window for that: nobody takes it for one that hangs."""

    def in_seconds(context, **_):
        try:
            while True:
                context.checkpoint(context.window.start + timedelta(seconds=1))
        finally:
            Event().wait(1.8)  # longer than one that was told to end is given

    orchestrator = make({"acme.a": collector(recording(Calls(), in_seconds), options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {})
    report = orchestrator.run(max_duration=0.1)
    assert (report.windows.failed, report.error) == (0, None)
    assert "left behind" not in caplog.text


def test_g4_a_key_whose_turn_is_over_gives_its_slot_away_where_a_part_was_sealed(make, monkeypatch):
    """Those that wait come first; the rest is collected by the same pass."""
    monkeypatch.setattr(sweep, "TURN_SECONDS", 0)
    calls = Calls()
    run = recording(calls, lambda start, end, context, **_: context.checkpoint(start + (end - start) / 2))
    orchestrator = make({"acme.a": collector(run, options=ONE_DAY)}, concurrency=1)
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {})
    assert orchestrator.run(max_windows=4).windows.failed == 0
    assert [tenant for tenant, *_ in calls.made[:2]] == ["t1", "t2"]
    assert calls.of("t1")[:2] == [(START - DAY, START), (START - DAY / 2, START)]


def test_a_history_from_the_year_1_looks_back_no_further(make):
    """``lookback`` ends where the calendar does."""
    calls = Calls()
    options = CollectorOptions(lookback=DAY)
    orchestrator = make({"acme.a": collector(recording(calls), duration=None, options=options)})
    orchestrator.configure("t1", "acme", {}, since=datetime(1, 1, 1, tzinfo=UTC))
    assert orchestrator.run().windows.completed == 1
    assert calls.of("t1") == [(datetime(1, 1, 1, tzinfo=UTC), START)]


def test_a_history_that_begins_in_the_future_is_refused(make):
    """Nothing would ever be collected; a clock that is a minute ahead is no mistake."""
    orchestrator = make({"acme.a": collector(recording(Calls()))})
    with pytest.raises(ConfigurationError, match="future"):
        orchestrator.configure("t1", "acme", {}, since=START + DAY)
    assert list(orchestrator.configured()) == []
    orchestrator.configure("t1", "acme", {}, since=START + timedelta(minutes=1))
    assert [source.tenant_id for source in orchestrator.configured()] == ["t1"]


@pytest.mark.parametrize(
    "limits",
    [
        {"max_windows": -1},
        {"max_windows": 0},
        {"max_windows": True},
        {"max_windows": 1.5},
        {"max_duration": -1},
        {"max_duration": timedelta(seconds=-1)},
        {"max_duration": float("nan")},
        {"max_duration": True},
        {"max_duration": "60"},
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(make, limits):
    """It is named, before anything is done."""
    orchestrator = make({"acme.a": collector(recording(Calls()))})
    with pytest.raises(ConfigurationError, match=next(iter(limits))):
        orchestrator.run(**limits)


@pytest.mark.parametrize(("windows", "reason"), [(2, "runnable"), (3, "up_to_date")])
def test_g7_a_pass_that_its_budget_ends_says_what_is_left(make, windows, reason):
    """A key that still has windows is not called up to date, and one that has none is."""
    options = CollectorOptions(initial_range=3 * DAY)
    orchestrator = make({"acme.a": collector(recording(Calls()), options=options)})
    orchestrator.configure("t1", "acme", {})
    report = orchestrator.run(max_windows=windows)
    assert report.windows.completed == windows
    assert [row.reason for row in report.keys] == [reason]


def test_a_seal_that_is_tried_again_takes_no_second_window_of_the_budget(make, monkeypatch):
    """The budget counts windows, not tries."""
    tries = []

    def seal(transaction, seal):
        tries.append(seal)
        if len(tries) == 1:
            raise TransactionConflict
        return sealing(transaction, seal)

    sealing = MemoryTransaction.seal
    monkeypatch.setattr(MemoryTransaction, "seal", seal)
    orchestrator = make({"acme.a": collector(recording(Calls()))})
    orchestrator.configure("t1", "acme", {})
    assert orchestrator.run(max_windows=3).windows.completed == 3


@pytest.mark.parametrize("durable", [True, False])
def test_g2_a_checkpoint_whose_reply_was_lost_is_asked_after(make, monkeypatch, durable):
    """The database says whether the rows are there; the window goes on from where they end, and so does the pass."""
    resumed, lost = [], []

    def checkpoint(transaction, resume):
        if not lost:
            lost.append(True)
            if durable:
                keeping(transaction, resume)
            raise OutcomeUnknown
        return keeping(transaction, resume)

    def half(context, **_):
        resumed.append(context.resume)
        if context.resume is None:
            context.resume = "half"
            context.checkpoint()

    keeping = MemoryTransaction.checkpoint
    monkeypatch.setattr(MemoryTransaction, "checkpoint", checkpoint)
    orchestrator = make({"acme.a": collector(recording(Calls(), half), options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {})
    report = orchestrator.run()
    assert (report.error, report.windows.completed) == (None, 1)
    assert resumed == ([None, "half"] if durable else [None, None])


def test_an_executor_that_is_shut_down_leaves_no_lease_and_is_named(make, backend):
    """The pass ends with a clear error, and the key is free for the next one."""
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    collectors = {"acme.a": collector(recording(Calls()), options=ONE_DAY)}
    orchestrator = make(collectors, executor=executor)
    orchestrator.configure("t1", "acme", {})
    assert "executor" in orchestrator.run().error
    assert backend.locks.holders([state.key for state in backend.state.load(EVERYTHING)]) == {}
    assert make(collectors).run().windows.completed == 1


def test_a_host_catalog_that_fails_is_told_in_the_report(backend, clock):
    """Neither its own error nor a traceback reaches the caller of ``run``."""
    catalog = HostCatalog({}, fail=True)
    orchestrator = with_catalog(backend, clock, catalog, recording(Calls()))
    assert "OSError: the host's table is locked" in orchestrator.run().error
    catalog.fail = False
    assert orchestrator.run().windows.completed == 1


def test_a_host_catalog_need_not_have_a_version(backend, clock, monkeypatch):
    """Whatever it answers, the first pass makes the keys."""
    monkeypatch.setattr(HostCatalog, "version", lambda _: None)
    assert with_catalog(backend, clock, HostCatalog({}), recording(Calls())).run().windows.completed == 1


def test_g6_a_host_catalog_with_a_value_that_is_no_text_is_a_wrong_configuration(backend, clock):
    """The key is named, its value is not."""
    orchestrator = with_catalog(backend, clock, HostCatalog({"PORT": 54321}), recording(Calls()))
    assert orchestrator.run().needs_action
    [row] = orchestrator.explain()
    assert row.reason == "config_invalid"
    assert "PORT must have a text" in row.detail
    assert "54321" not in row.detail


def test_g5_a_chain_of_any_length_is_walked(make):
    """A long chain of dependencies ends neither a pass nor a look at it by a limit of Python's."""
    length = 400
    collectors = {
        f"acme.s{n:04}": collector(recording(Calls()), depends=(f"s{n - 1:04}",) if n else (), options=ONE_DAY)
        for n in range(length)
    }
    orchestrator = make(collectors)
    orchestrator.configure("t1", "acme", {})
    rows = list(orchestrator.explain("t1", limit=3))
    assert [row.reason for row in rows] == ["runnable", "waiting_for_upstream", "waiting_for_upstream"]
    last = next(orchestrator.explain("t1", "acme", f"s{length - 1:04}"))
    assert last.detail.startswith(f"waits until acme.s{length - 2:04} covers")
    assert orchestrator.run(max_windows=2).windows.completed == 2
