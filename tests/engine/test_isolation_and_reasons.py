"""One tenant's trouble stays its own, and every key says why it does not run: G4, G6, G7, G8."""

import threading
import time
from datetime import datetime, timedelta

import pytest

from tenantcollect import AuthenticationError, CollectorOptions, ConfigurationError, RateLimited, TryLater

from .conftest import Calls, collector, recording

DAY = timedelta(days=1)
ONE_DAY = CollectorOptions(initial_range=DAY)


def explained(orchestrator, *which):
    """The explain rows by script."""
    return {row.script: row for row in orchestrator.explain(*which)}


def test_g7_missing_dependency_is_named_for_that_tenant_only(make):
    """A dependency that nobody provides holds that key and names the resource; other tenants complete."""
    calls = Calls()
    collectors = {
        "jira.issue": collector(recording(calls), depends=("user",), options=ONE_DAY),
        "people.user": collector(recording(calls), options=ONE_DAY),
    }
    orchestrator = make(collectors)
    orchestrator.configure("whole", "jira", {})
    orchestrator.configure("whole", "people", {})
    orchestrator.configure("part", "jira", {})
    report = orchestrator.run()
    assert report.needs_action
    [row] = orchestrator.explain("part")
    assert row.reason == "dependency_error"
    assert "'user'" in row.detail
    assert row.action
    assert len(calls.of("whole")) == 2
    orchestrator.configure("part", "people", {})
    assert orchestrator.run().windows.completed == 2


@pytest.mark.parametrize("way", ["try later", "rate limited", "checkpoint"])
def test_a_naive_time_is_the_collectors_own_mistake(make, way):
    """No configuration can mend it, so the tenant's stays unquestioned, and the text says what to write."""
    naive = datetime(2026, 1, 1)  # noqa: DTZ001

    def run(context):
        if way == "checkpoint":
            context.checkpoint(naive)
        raise TryLater(naive) if way == "try later" else RateLimited(naive)

    orchestrator = make({"acme.a": collector(run, options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    [row] = orchestrator.explain("t1")
    assert row.reason == "collector_broken"
    assert "time zone" in row.detail
    assert "use an aware" in row.detail


def test_g7_cycle_is_named_exactly(make):
    """Collectors on a circle are named, the one beside it runs."""
    calls = Calls()
    collectors = {
        "acme.a": collector(recording(calls), depends=("b",), options=ONE_DAY),
        "acme.b": collector(recording(calls), depends=("a",), options=ONE_DAY),
        "acme.c": collector(recording(calls), options=ONE_DAY),
    }
    orchestrator = make(collectors)
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    rows = explained(orchestrator)
    assert rows["a"].reason == rows["b"].reason == "dependency_error"
    assert "acme.a -> acme.b -> acme.a" in rows["a"].detail or "acme.b -> acme.a -> acme.b" in rows["a"].detail
    assert rows["c"].reason == "not_due" or rows["c"].reason == "up_to_date"


def test_g7_bad_key_holds_until_the_configuration_changes(make):
    """Refused credentials are tried once; dependents name the root cause; a new key cures it."""
    calls = Calls()

    def refuse(env, **_):
        if env["TOKEN"] == "bad":
            raise AuthenticationError("401 from the source")

    collectors = {
        "acme.team": collector(recording(calls, refuse), options=ONE_DAY),
        "acme.commit": collector(recording(Calls()), depends=("team",), options=ONE_DAY),
    }
    orchestrator = make(collectors)
    orchestrator.configure("t1", "acme", {"TOKEN": "bad"})
    report = orchestrator.run()
    assert report.needs_action
    assert report.windows.failed == 1
    rows = explained(orchestrator)
    assert rows["team"].reason == "auth_failed"
    assert "config set t1 acme" in rows["team"].action
    assert rows["commit"].reason == "waiting_for_upstream"
    assert rows["commit"].root_cause.startswith("acme.team: auth_failed")
    assert [row.status for row in orchestrator.status("t1", "acme", "team")] == ["HELD"]
    orchestrator.run()
    assert len(calls.made) == 1
    orchestrator.configure("t1", "acme", {"TOKEN": "good"})
    assert orchestrator.run().windows.completed == 2


def test_g4_import_error_costs_only_that_source(make):
    """A collector that cannot be made is named with its reason; other sources and tenants complete."""
    calls = Calls()

    class Exploding:
        def __init__(self):
            raise SystemExit("no licence")

    collectors = {"bad.thing": Exploding, "acme.a": collector(recording(calls), options=ONE_DAY)}
    orchestrator = make(collectors)
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {})
    orchestrator.configure("t1", "bad", {})
    report = orchestrator.run()
    assert report.needs_action
    assert len(calls.made) == 2
    [row] = orchestrator.explain("t1", "bad")
    assert row.reason == "collector_broken"
    assert "no licence" in row.detail
    assert any(row.reason == "collector_broken" for row in orchestrator.status("t1"))


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), BaseException("odd")])
def test_g4_base_exceptions_cost_their_own_window(make, raised):
    """A collector that raises what no library expects loses its own window only."""
    calls = Calls()

    def blow(tenant_id, **_):
        if tenant_id == "t1":
            raise raised

    orchestrator = make({"acme.a": collector(recording(calls, blow), options=ONE_DAY)})
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {})
    report = orchestrator.run()
    assert (report.windows.completed, report.windows.failed) == (1, 1)
    assert [row.tenant_id for row in orchestrator.history() if row.status == "FAILED"] == ["t1"]


def test_g4_hung_collector_holds_only_its_own_slot(make):
    """A window over its timeout is given up, its thread left behind; the other tenant completes."""
    release = threading.Event()

    def hang(tenant_id, **_):
        if tenant_id == "t1":
            release.wait(30)

    options = CollectorOptions(initial_range=DAY, window_timeout=timedelta(seconds=0.2))
    orchestrator = make({"acme.a": collector(recording(Calls(), hang), options=options)})
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {})
    began = time.monotonic()
    report = orchestrator.run()
    release.set()
    assert time.monotonic() - began < 10
    assert (report.windows.completed, report.windows.failed) == (1, 1)
    [row] = orchestrator.history("t1")
    assert "WindowTimedOut" in row.error


def test_g4_tenants_take_turns(make):
    """A tenant with a hundred sources does not keep another from its first window."""
    order = []

    def note(tenant_id, **_):
        order.append(tenant_id)

    collectors = {f"s{n}.a": collector(recording(Calls(), note), options=ONE_DAY) for n in range(30)}
    orchestrator = make(collectors, concurrency=1)
    for n in range(30):
        orchestrator.configure("big", f"s{n}", {})
    orchestrator.configure("small", "s0", {})
    orchestrator.run()
    assert order.index("small") <= 2
    assert order.count("big") == 30


def test_wrong_return_type_is_a_broken_collector(make):
    """``run`` that returns what it should not is named as the collector's fault."""
    orchestrator = make({"acme.a": collector(recording(Calls(), lambda **_: ["row"]), options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {})
    assert orchestrator.run().needs_action
    [row] = orchestrator.explain()
    assert row.reason == "collector_broken"
    assert "returned list" in row.detail


def test_g3_busy_key_is_left_alone(make, clock):
    """What another process holds is counted as busy, and is no failure."""
    started, release = threading.Event(), threading.Event()

    def slow(**_):
        started.set()
        release.wait(20)

    collectors = {"acme.a": collector(recording(Calls(), slow), options=ONE_DAY)}
    first, second = make(collectors), make(collectors)
    first.configure("t1", "acme", {})
    thread = threading.Thread(target=first.run)
    thread.start()
    assert started.wait(10)
    report = second.run()
    assert (report.windows.completed, report.windows.busy, report.needs_action) == (0, 1, False)
    assert [row.status for row in second.status()] == ["RUNNING"]
    release.set()
    thread.join(20)
    assert [row.status for row in second.status()] == ["COMPLETED"]


def test_g7_the_root_cause_reaches_the_whole_chain(make):
    """The report of the very pass in which the root failed names it for the last in the chain."""

    def fail(**_):
        raise ValueError("down")

    collectors = {
        "acme.a": collector(recording(Calls(), fail), options=ONE_DAY),
        "acme.b": collector(recording(Calls()), depends=("a",), options=ONE_DAY),
        "acme.c": collector(recording(Calls()), depends=("b",), options=ONE_DAY),
    }
    orchestrator = make(collectors)
    orchestrator.configure("t1", "acme", {})
    report = orchestrator.run()
    roots = {row.script: row.root_cause for row in report.keys}
    assert roots["b"].startswith("acme.a: backoff")
    assert roots["c"].startswith("acme.a: backoff")


def test_stop_ends_a_pass_between_windows(make):
    """A pass that is told to stop finishes its open window and claims nothing more."""
    calls = Calls()
    orchestrator = make({"acme.a": collector(recording(calls, lambda **_: orchestrator.stop()))})
    orchestrator.configure("t1", "acme", {})
    assert orchestrator.run().windows.completed == 1
    assert orchestrator.run(max_windows=1).windows.completed == 1


def test_configure_refuses_what_cannot_be(make):
    """Unknown sources, bad names and bad settings are refused before anything is stored."""
    orchestrator = make({"acme.a": collector(recording(Calls()))})
    for arguments in (
        ("t1", "acmee", {}),
        ("", "acme", {}),
        ("t1", "acme", {"A=B": "x"}),
        ("t1", "acme", {"A": 1}),
    ):
        with pytest.raises(ConfigurationError):
            orchestrator.configure(*arguments)
    assert list(orchestrator.configured()) == []


def test_history_has_a_row_for_every_attempt(make, clock):
    """Failed and sealed attempts are both there, newest first."""

    def once(context, **_):
        if context.attempt == 1:
            raise ValueError("first try")

    orchestrator = make({"acme.a": collector(recording(Calls(), once), options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    clock.advance(minutes=2)
    orchestrator.run()
    assert [(row.status, row.attempt) for row in orchestrator.history()][-2:] == [
        ("COMPLETED", 2),
        ("FAILED", 1),
    ]


def test_g4_many_held_tenants_do_not_hide_the_one_that_can_run(make):
    """A pass looks past any number of keys that cannot run."""
    calls = Calls()
    collectors = {
        "lonely.a": collector(recording(Calls()), depends=("nowhere",), options=ONE_DAY),
        "acme.a": collector(recording(calls), options=ONE_DAY),
    }
    orchestrator = make(collectors, concurrency=2)
    for n in range(120):
        orchestrator.configure(f"held{n:03}", "lonely", {})
    orchestrator.configure("zzz", "acme", {})
    report = orchestrator.run()
    assert len(calls.made) == 1
    assert report.needs_action
    assert len(report.keys) == 121


def test_g7_a_blocked_dependent_names_the_cure_of_its_root(make):
    """The command that helps stands at the end of the chain too, and in the very first report."""

    def refuse(**_):
        raise AuthenticationError

    collectors = {
        "acme.a": collector(recording(Calls(), refuse), options=ONE_DAY),
        "acme.b": collector(recording(Calls()), depends=("a",), options=ONE_DAY),
    }
    orchestrator = make(collectors)
    orchestrator.configure("t1", "acme", {})
    actions = {row.script: row.action for row in orchestrator.run().keys}
    assert "config set t1 acme" in actions["a"]
    assert actions["b"] == actions["a"] == explained(orchestrator)["b"].action


def test_what_needs_somebody_is_told_by_every_new_process(make):
    """A broken collector that backs off is not due, and still counts."""
    collectors = {"acme.a": collector(recording(Calls(), lambda **_: ["row"]), options=ONE_DAY)}
    first = make(collectors)
    first.configure("t1", "acme", {})
    assert first.run().needs_action
    assert make(collectors).run().needs_action
