"""PROTOCOL 2.8 and 6: windows that run elsewhere, whatever becomes of those who run them."""

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from datetime import timedelta
from threading import Event

import pytest
from attrs import evolve

from tenantcollect import CollectorOptions, Orchestrator, RateLimited, WindowCommitted, WindowFailed
from tenantcollect.backends.memory import MemoryBackend
from tenantcollect.errors import ChildDied
from tenantcollect.keys import EVERYTHING, Key
from tenantcollect.state import Opening, Seal
from tenantcollect.windows import Window, WindowSet
from tenantcollect.worker import Errand, Outcome, Report
from tests.engine.conftest import collector

KEY = Key("acme", "hub", "item")
TWO_DAYS = CollectorOptions(initial_range=timedelta(days=2))


class Elsewhere(Executor):
    """Runs a call at once; ``loses`` = its process dies, of this or of something, before it can say how it went."""

    def __init__(self, *, loses: bool | ChildDied = False) -> None:
        self.loses = loses

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        future.set_running_or_notify_cancel()
        died = self.loses if isinstance(self.loses, ChildDied) else ChildDied()
        try:
            result = fn(*args, **kwargs)
            future.set_exception(died) if self.loses else future.set_result(result)
        except ChildDied as meanwhile:
            future.set_exception(meanwhile)
        return future


def _nothing(_: object) -> None:
    """Nobody asked for more."""


@pytest.fixture
def elsewhere(make):
    """Makes the orchestrator of a parent whose windows are run by another one, and what it tells of."""

    def both(run: Callable, *, loses: bool = False, before=_nothing, instead=None, after=_nothing):
        collectors = {"hub.item": collector(run, options=TWO_DAYS)}
        child = make(collectors)

        def perform(errand: Errand) -> Report:
            before(errand)
            report = instead(errand) if instead else child.perform(errand)
            after(report)
            return report

        parent = make(collectors, executor=Elsewhere(loses=loses), perform=perform)
        told: list = []
        parent.subscribe(told.append)
        parent.configure("acme", "hub", {})
        return parent, told

    return both


@pytest.mark.parametrize("loses", [False, True])
def test_a_sealed_window_counts_also_if_nobody_came_back_to_say_so(elsewhere, backend, loses):
    """The database is asked: no window is run twice, each is told once, none failed."""
    parent, told = elsewhere(lambda: 1, loses=loses)
    report = parent.run()
    assert (report.windows.completed, report.windows.failed, report.error) == (2, 0, None)
    assert [event.window.duration for event in told if isinstance(event, WindowCommitted)] == [timedelta(days=1)] * 2
    assert {row.status for row in parent.history()} == {"COMPLETED"}
    assert backend.locks.holders([KEY]) == {}


@pytest.mark.parametrize("loses", [False, True])
def test_a_stored_failure_counts_also_if_nobody_came_back_to_say_so(elsewhere, loses):
    """What a child had stored before it died is reported and told as if it had come back."""

    def fail():
        raise ValueError("no such item")

    parent, told = elsewhere(fail, loses=loses)
    report = parent.run()
    assert (report.windows.failed, report.needs_action) == (1, True)
    assert [event.reason for event in told if isinstance(event, WindowFailed)] == ["backoff"]
    assert "no such item" in report.keys[0].error


def seal_and_die(backend, parts: int) -> Callable[[Errand], None]:
    """What a child does that seals so many parts of its window and then dies."""

    def live(errand: Errand) -> None:
        transaction = backend.state.transaction(errand.claim)
        for _ in range(parts):
            window = transaction.claim.window
            part = Window(window.start, window.start + timedelta(seconds=1))
            covered = next(iter(backend.state.load([KEY]))).coverage | WindowSet((part,))
            rest = transaction.claim.onto(Window(part.end, window.end))
            transaction.seal(Seal(window=part, coverage=covered, last_fetched_data_date=part.end, next=rest))
        raise ChildDied

    return live


def test_each_part_that_a_dead_child_had_sealed_is_told(elsewhere, backend):
    """However many there are; and nothing else is told of it."""
    parent, told = elsewhere(lambda: 1, before=seal_and_die(backend, 150))
    report = parent.run(max_windows=1)
    assert (report.windows.completed, report.windows.failed) == (150, 1)
    assert sum(isinstance(event, WindowCommitted) for event in told) == 150


def test_failures_are_counted_from_the_last_part_that_was_sealed(elsewhere, backend, clock):
    """A child that dies again and again, but gets on each time, is not failing in a row."""
    parts = iter([0, 0, 1, 1])
    parent, _ = elsewhere(lambda: 1, before=lambda errand: seal_and_die(backend, next(parts))(errand))  # noqa: PLW0108
    failures = []
    for _ in range(4):
        clock.advance(days=1)
        parent.run(max_windows=1)
        failures.append(next(iter(backend.state.load([KEY]))).failures)
    assert failures == [1, 2, 1, 1]


def test_a_child_that_says_it_was_too_late_is_believed_by_what_is_stored(elsewhere, make):
    """Another may have sealed the window, and died before it could say so: it is told once, and the pass goes on."""
    child = make({"hub.item": collector(lambda: 1, options=TWO_DAYS)})

    def too_late(errand: Errand) -> Report:
        child.perform(errand)
        return Report(outcome=Outcome(key=KEY, lost=True))

    parent, told = elsewhere(lambda: 1, instead=too_late)
    assert parent.run().windows.completed == 2
    assert sum(isinstance(event, WindowCommitted) for event in told) == 2


def test_a_window_elsewhere_ends_where_a_part_was_sealed_if_there_is_no_time(make):
    """As it does here: the rest is for a later pass."""

    def in_seconds(context):
        while context.window.duration > timedelta(hours=1):
            context.checkpoint(context.window.start + timedelta(seconds=1))
            time.sleep(0.01)

    collectors = {"hub.item": collector(in_seconds, options=TWO_DAYS)}
    child = make(collectors)
    with ThreadPoolExecutor(1) as pool:
        parent = make(collectors, executor=pool, perform=child.perform)
        parent.configure("acme", "hub", {})
        report = parent.run(max_duration=0.5)
    assert report.windows.failed == 0
    assert 0 < report.windows.completed < 1000


def test_what_cannot_begin_says_why(make, backend):
    """A child that cannot build the orchestrator: the key backs off, and its error names the reason."""
    parent = make(
        {"hub.item": collector(lambda: 1, options=TWO_DAYS)},
        executor=Elsewhere(),
        perform=lambda _: Report(outcome=None, error="there is no 'build' in 'myapp'"),
    )
    parent.configure("acme", "hub", {})
    report = parent.run()
    assert report.windows.failed == 1
    assert "there is no 'build' in 'myapp'" in report.keys[0].error
    assert backend.locks.holders([KEY]) == {}


def test_a_command_before_the_child_begins_leaves_no_lease_behind(elsewhere, backend):
    """A fence that was raised meanwhile: nothing is run, and the key is free at once."""
    parent, _ = elsewhere(lambda: 1, before=lambda _: parent.replay("acme"))
    assert parent.run(max_windows=1).error is None
    assert backend.locks.holders([KEY]) == {}
    assert {row.status for row in parent.history()} == {"REPLAYED", "ABANDONED"}


def test_a_child_begins_nothing_that_was_taken_over(elsewhere, backend):
    """A claim that another has by then is none any more: the collector is not even called."""
    called = []

    def take_over(errand: Errand) -> None:
        if not called:
            claim = errand.claim
            asked = Opening(
                key=KEY,
                token="other",
                owner="other",
                window_seq=claim.window_seq,
                window_id="other",
                window=claim.window,
            )
            assert backend.state.open([asked])
            called.append("before")

    parent, _ = elsewhere(lambda: called.append("run"), before=take_over)
    parent.run(max_windows=1)
    assert called == ["before"]


def test_where_no_window_can_run_the_pass_ends_and_no_key_is_blamed(make, backend):
    """A wrong app is nobody's failure: the report says what is wrong, and every key is as it was."""
    parent = make(
        {"hub.item": collector(lambda: 1, options=TWO_DAYS)},
        executor=Elsewhere(),
        perform=lambda _: Report(outcome=None, error="there is no 'build' in 'myapp'", usable=False),
    )
    for tenant in ("acme", "globex", "initech", "umbrella", "wayne"):
        parent.configure(tenant, "hub", {})
    report = parent.run()
    assert report.error == "No window can run: there is no 'build' in 'myapp'"
    assert (report.windows.failed, list(parent.history())) == (0, [])
    assert {(row.status, row.reason, row.error) for row in parent.status()} == {("PENDING", "runnable", None)}
    assert backend.locks.holders([state.key for state in backend.state.load(EVERYTHING)]) == {}


def test_a_child_that_dies_before_it_begins_is_no_fault_of_its_tenant(make):
    """Where children cannot start, the pass ends and says so."""
    died = ChildDied("it was not even imported")
    died.begun = False
    parent = make(
        {"hub.item": collector(lambda: 1, options=TWO_DAYS)}, executor=Elsewhere(loses=died), perform=lambda _: None
    )
    parent.configure("acme", "hub", {})
    report = parent.run()
    assert report.error == "No window can run: it was not even imported"
    assert (report.windows.failed, list(parent.history())) == (0, [])


def test_a_child_on_another_database_says_so(make, clock):
    """It would find nothing to do there, pass after pass, and nobody would know why."""
    elsewhere = MemoryBackend(clock=clock)
    parts = {"state": elsewhere.state, "locks": elsewhere.locks, "catalog": elsewhere.catalog}
    child = Orchestrator(**parts, clock=clock, collectors={"hub.item": collector(lambda: 1, options=TWO_DAYS)})
    parent = make({"hub.item": collector(lambda: 1)}, executor=Elsewhere(), perform=child.perform)
    parent.configure("acme", "hub", {})
    assert "on another database: acme/hub/item was not claimed there" in parent.run().error
    child.configure("acme", "hub", {})  # the key is there, but nobody ever claimed it
    assert "on another database" in parent.run().error
    for _ in range(9):  # as in a copy that has a life of its own
        child.replay("acme")
    assert "on another database" in parent.run().error
    child.close()


def test_an_errand_that_is_done_once_more_goes_on_where_the_first_child_died(elsewhere, backend):
    """What became durable of the window stays: only the rest is run."""
    ran, sealed = [], []

    def seal_half(errand: Errand) -> None:
        claim = errand.claim
        if not sealed:
            middle = claim.window.start + claim.window.duration / 2
            half, rest = Window(claim.window.start, middle), Window(middle, claim.window.end)
            sealed.append(half)
            seal = Seal(window=half, coverage=WindowSet((half,)), last_fetched_data_date=middle)
            backend.state.transaction(claim).seal(evolve(seal, next=claim.onto(rest)))

    parent, _ = elsewhere(lambda start_date, end_date: ran.append(Window(start_date, end_date)), before=seal_half)
    report = parent.run(max_windows=1)
    assert (report.windows.failed, report.error) == (0, None)
    assert [(one.start, one.duration) for one in ran] == [(sealed[0].end, timedelta(hours=12))]
    assert next(parent.status()).coverage == ((sealed[0].start, ran[0].end),)


def test_x09_a_child_that_is_lost_while_the_pass_ends_has_not_failed(elsewhere, backend):
    """Whoever told the pass to end may have told its children too."""
    parent, _ = elsewhere(lambda: 1, loses=True, instead=lambda _: parent.stop())
    report = parent.run()
    assert (report.windows.failed, report.error) == (0, None)
    assert [(row.status, row.reason) for row in parent.history()] == [("FAILED", "runnable")]
    assert next(parent.status()).failures == 0
    assert backend.locks.holders([KEY]) == {}


def test_a_child_that_goes_on_sealing_parts_is_ended_with_the_pass(make):
    """Its time is up again and again, and then it is asked whether the pass has any for it: nothing has failed."""

    def in_parts(start_date, end_date, context):
        while True:
            context.checkpoint(context.window.start + (end_date - context.window.start) / 100)
            Event().wait(0.02)

    options = CollectorOptions(initial_range=timedelta(days=1), window_timeout=timedelta(seconds=0.5))
    collectors = {"hub.item": collector(in_parts, options=options)}
    with ThreadPoolExecutor(1) as executor:
        parent = make(collectors, executor=executor, perform=make(collectors).perform)
        parent.configure("acme", "hub", {})
        report = parent.run(max_duration=0.5)
    assert (report.windows.failed, report.error) == (0, None)
    assert report.windows.completed > 10
    assert next(parent.status()).failures == 0


def test_what_a_child_logs_beyond_a_thousand_lines_is_counted(elsewhere, caplog):
    """Nobody takes the thousand for all there was."""

    def talk(context):
        for number in range(1005):
            context.logger.warning("line %s", number)

    parent, _ = elsewhere(talk)
    parent.run(max_windows=1)
    told = [record.getMessage() for record in caplog.records if record.module == "errands"]
    assert len(told) == 1001
    assert told[-1] == "5 more lines of this window were dropped"


def test_g4_only_a_window_that_was_sealed_lets_its_child_serve_another(elsewhere):
    """Whatever else it ended with, the executor is told to take a new one."""
    sound = []

    def fail_the_second(tenant_id, context):
        if sound:
            raise RateLimited(60)

    parent, _ = elsewhere(fail_the_second, after=lambda report: sound.append(report.sound))
    parent.run()
    assert sound == [True, False]


def test_an_executor_that_is_shut_down_ends_the_pass_and_not_the_host(make, backend):
    """Windows that were still queued are no failures; their leases are given back."""
    executor, begun, shut = ThreadPoolExecutor(1), Event(), Event()

    def run(context):
        begun.set()
        assert shut.wait(10)

    orchestrator = make({"hub.item": collector(run, options=TWO_DAYS)}, executor=executor, concurrency=4)
    for tenant in ("acme", "globex", "initech"):
        orchestrator.configure(tenant, "hub", {})

    with ThreadPoolExecutor(1) as other:
        running = other.submit(orchestrator.run)
        assert begun.wait(10)
        executor.shutdown(wait=False, cancel_futures=True)
        shut.set()
        report = running.result(30)
    assert report.windows.failed == 0
    assert "RuntimeError: cannot schedule new futures after shutdown" in orchestrator.run().error
    keys = [Key(tenant, "hub", "item") for tenant in ("acme", "globex", "initech")]
    assert backend.locks.holders(keys) == {}
