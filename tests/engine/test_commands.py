"""pause, resume, backfill and replay: what a person orders, and what it does to those who are at work."""

from datetime import timedelta

import pytest

from tenantcollect import CollectorOptions, ConfigurationError, TryLater, WindowTooLarge
from tenantcollect.events import HoldLifted

from .conftest import START, Calls, collector, recording
from .test_windows_of_a_pass import calls_of_chain, chain, spans

DAY = timedelta(days=1)


def collected(make, calls):
    """A chain that has collected its 90 days."""
    orchestrator = make(chain(calls))
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    for one in calls.values():
        one.made.clear()
    return orchestrator


def test_pause_holds_and_resume_lifts(make, clock):
    """A paused source runs nothing and says so; resumed, it catches up."""
    calls = calls_of_chain()
    orchestrator = collected(make, calls)
    assert len(orchestrator.pause("t1", "acme", detail="migrating")) == 3
    clock.advance(days=2)
    report = orchestrator.run()
    assert (report.windows.completed, report.needs_action) == (0, False)
    row = next(orchestrator.explain("t1", "acme", "team"))
    assert (row.reason, row.detail) == ("paused_by_user", "migrating")
    orchestrator.resume("t1", "acme")
    assert orchestrator.run().windows.completed == 2 + 2 + 1


def test_a_pause_with_an_end_ends_by_itself(make, clock):
    """Nobody has to lift a hold whose time is over."""
    orchestrator = collected(make, calls_of_chain())
    orchestrator.pause("t1", until=START + DAY)
    clock.advance(hours=12)
    assert orchestrator.run().windows.completed == 0
    clock.advance(hours=13)
    assert orchestrator.run().windows.completed == 5


def test_resume_does_not_wait_for_the_end_of_a_pause(make, clock):
    """Who resumes a key wants it to run now."""
    orchestrator = collected(make, calls_of_chain())
    orchestrator.pause("t1", until=START + 5 * DAY)
    clock.advance(days=1)
    assert orchestrator.run().windows.completed == 0
    orchestrator.resume("t1")
    assert orchestrator.run().windows.completed == 3


def test_replay_takes_the_range_from_dependents_too(make):
    """The replayed range is collected again, by the key and by all that depend on it."""
    calls = calls_of_chain()
    orchestrator = collected(make, calls)
    start = START - 80 * DAY
    assert len(orchestrator.replay("t1", "acme", "repository", start=start, end=start + DAY)) == 2
    orchestrator.run()
    assert calls["team"].made == []
    assert spans(calls["repository"].of("t1")) == [(10, 11)]
    assert spans(calls["commit"].of("t1")) == [(10, 11)]
    assert any(row.status == "REPLAYED" for row in orchestrator.history("t1", "acme", "commit"))


def test_backfill_moves_the_history_start_of_upstreams_too(make):
    """Dependents can only go where their upstreams have been."""
    calls = calls_of_chain()
    orchestrator = collected(make, calls)
    moved = orchestrator.backfill("t1", "acme", "repository", since=START - 100 * DAY)
    assert [key.script for key in moved] == ["repository", "team"]
    orchestrator.run()
    assert spans(calls["team"].of("t1")) == [(n, n + 1) for n in range(-10, 0)]
    assert spans(calls["repository"].of("t1")) == [(n, n + 1) for n in range(-10, 0)]
    assert calls["commit"].made == []


def test_a_replay_of_everything_forgets_the_cursor(make):
    """A collector that goes by its cursor would otherwise fetch nothing, and have it sealed."""
    seen = []

    def remember(context, end, **_):
        seen.append(context.cursor)
        context.cursor = end.isoformat()

    orchestrator = make({"acme.a": collector(recording(Calls(), remember))})
    orchestrator.configure("t1", "acme", {}, since=START - 2 * DAY)
    orchestrator.run()
    orchestrator.replay("t1", "acme")
    orchestrator.run()
    assert seen[0] is seen[2] is None


@pytest.mark.parametrize("interrupted", ["pause", "too_large"])
def test_g2_what_a_checkpoint_made_durable_is_not_collected_twice(make, interrupted):
    """Neither a pause nor a window that is too large for its rest loses the resume point."""
    resumed = []

    def half(context, **_):
        resumed.append((context.resume, context.window))
        if context.resume is None:
            context.resume = "half"
            context.checkpoint()
            raise WindowTooLarge if interrupted == "too_large" else TryLater(retry_after=1)

    orchestrator = make({"acme.a": collector(recording(Calls(), half))})
    orchestrator.configure("t1", "acme", {}, since=START - DAY)
    orchestrator.run()
    if interrupted == "pause":
        orchestrator.pause("t1")
        orchestrator.resume("t1")
        orchestrator.trigger("t1")
        orchestrator.run()
    assert [resume for resume, _ in resumed] == [None, "half"]
    assert len({window for _, window in resumed}) == 1


@pytest.mark.parametrize(("replayed", "resume"), [(0, None), (5, "half")])
def test_a_replay_begins_what_it_reaches_anew(make, replayed, resume):
    """A window that was to be finished is begun from nothing, if any of it is replayed; another one is not."""
    resumed = []

    def half(context, **_):
        resumed.append(context.resume)
        if len(resumed) == 1:
            context.resume = "half"
            context.checkpoint()
            raise TryLater(60, "later")

    orchestrator = make({"acme.a": collector(recording(Calls(), half))})
    orchestrator.configure("t1", "acme", {}, since=START - 9 * DAY)
    orchestrator.run()
    start = START - 9 * DAY + replayed * DAY
    orchestrator.replay("t1", start=start, end=start + DAY / 2)
    orchestrator.trigger("t1")
    orchestrator.run(max_windows=1)
    assert resumed == [None, resume]


def test_g3_a_command_fences_whoever_is_at_work(make):
    """A window that was open when its key was replayed cannot seal."""
    orders = []

    def replay_meanwhile(**_):
        if not orders:
            orders.append(orchestrator.replay("t1", "acme", start=START - DAY, end=START))

    orchestrator = make({"acme.a": collector(recording(Calls(), replay_meanwhile))})
    orchestrator.configure("t1", "acme", {}, since=START - DAY)
    report = orchestrator.run()
    assert (report.windows.completed, report.windows.failed) == (0, 0)
    assert orchestrator.run().windows.completed == 1
    assert sorted(row.status for row in orchestrator.history()) == ["ABANDONED", "COMPLETED", "REPLAYED"]


def test_trigger_does_not_wait_for_the_interval(make, clock):
    """What is ordered runs in the next pass, though its newest piece is not due; and only once."""
    calls = calls_of_chain()
    orchestrator = collected(make, calls)
    clock.advance(minutes=5)
    assert orchestrator.run().windows.completed == 0
    orchestrator.trigger("t1", "acme", "team")
    assert orchestrator.run().windows.completed == 1
    clock.advance(minutes=5)
    assert orchestrator.run().windows.completed == 0


def test_trigger_does_not_wait_for_the_back_off(make, clock):
    """A key that backs off is tried again when somebody orders it."""
    failing = [True]

    def fail(**_):
        if failing[0]:
            raise ValueError("once")

    orchestrator = make({"acme.a": collector(recording(Calls(), fail))})
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    failing[0] = False
    orchestrator.trigger("t1")
    assert orchestrator.run().windows.completed == 90


def test_a_trigger_while_the_key_runs_is_not_lost(make, clock):
    """The end of the run does not put off what was ordered meanwhile; the next pass runs the key again."""
    calls = Calls()

    def ordered(**_):
        if len(calls.made) == 1:
            clock.advance(minutes=1)
            orchestrator.trigger("t1")

    orchestrator = make({"acme.a": collector(recording(calls, ordered), options=CollectorOptions(initial_range=DAY))})
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    assert len(calls.made) == 1
    assert orchestrator.run().windows.completed == 1
    assert orchestrator.run().windows.completed == 0


def test_a_resume_between_the_look_and_the_deferral_is_not_lost(make, clock):
    """What was decided before somebody acted is no answer: the key is looked at again in the same pass."""
    calls = Calls()
    orchestrator = make({"acme.a": collector(recording(calls), options=CollectorOptions(initial_range=DAY))})
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {})
    orchestrator.pause("t1", until=clock.now + timedelta(minutes=1))
    orchestrator.pause("t2")
    clock.advance(minutes=2)

    def react(event):
        if isinstance(event, HoldLifted) and event.tenant_id == "t1":
            orchestrator.resume("t2")

    orchestrator.subscribe(react)
    assert orchestrator.run().windows.completed == 2
    assert {tenant for tenant, *_ in calls.made} == {"t1", "t2"}


def test_a_pause_holds_what_no_pass_has_seen_yet(make, backend):
    """A source that was configured beside us, so that its rows are not made, is paused all the same."""
    calls = calls_of_chain()
    orchestrator = make(chain(calls))
    backend.catalog.write("t1", "acme", [], settings={})
    assert [key.script for key in orchestrator.pause("t1")] == ["commit", "repository", "team"]
    assert orchestrator.run().windows.completed == 0
    assert {row.reason for row in orchestrator.explain("t1")} == {"paused_by_user"}
    assert len(orchestrator.resume("t1")) == 3
    assert orchestrator.run().windows.completed > 0


def test_resume_of_a_script_leaves_what_its_whole_source_is_held_by(make):
    """The hold of the source is independent of that of the script; a key it still holds is not called resumed."""
    calls = calls_of_chain()
    orchestrator = collected(make, calls)
    orchestrator.pause("t1", "acme")
    orchestrator.pause("t1", "acme", "team")
    assert orchestrator.resume("t1", "acme", "team", dry_run=True) == []
    assert orchestrator.resume("t1", "acme", "team") == []
    assert {row.reason for row in orchestrator.explain("t1", "acme", "team")} == {"paused_by_user"}
    assert len(orchestrator.resume("t1", "acme")) == 3


def test_dry_run_changes_nothing(make):
    """With ``dry_run`` the keys are named and left alone."""
    calls = calls_of_chain()
    orchestrator = collected(make, calls)
    assert len(orchestrator.pause("t1", dry_run=True)) == 3
    assert len(orchestrator.replay("t1", dry_run=True)) == 3
    assert len(orchestrator.backfill("t1", since=START - 100 * DAY, dry_run=True)) == 3
    assert orchestrator.run().windows.completed == 0
    assert {row.reason for row in orchestrator.explain()} == {"up_to_date"}


def test_orders_that_make_no_sense_are_refused(make):
    """A future backfill and half a range are mistakes of the caller."""
    orchestrator = collected(make, calls_of_chain())
    with pytest.raises(ConfigurationError):
        orchestrator.backfill("t1", since=START + DAY)
    with pytest.raises(ConfigurationError):
        orchestrator.replay("t1", start=START - DAY)
