"""Which windows a pass runs: G1, G5 and the planning formula, through the whole engine."""

from datetime import timedelta

import pytest

from tenantcollect import CollectorOptions, RateLimited, TryLater, WindowTooLarge

from .conftest import START, Calls, collector, recording

DAY = timedelta(days=1)


def spans(ranges):
    """Each range as whole days since the history start."""
    begin = START - 90 * DAY
    return [((start - begin) / DAY, (end - begin) / DAY) for start, end in ranges]


def chain(calls, **actions):
    """team → repository → commit, the last with windows of 7 days."""
    return {
        "acme.team": collector(recording(calls["team"], actions.get("team"))),
        "acme.repository": collector(recording(calls["repository"], actions.get("repository")), depends=("team",)),
        "acme.commit": collector(
            recording(calls["commit"], actions.get("commit")), depends=("repository",), duration=7 * DAY
        ),
    }


def calls_of_chain():
    """One record of calls per script."""
    return {name: Calls() for name in ("team", "repository", "commit")}


def test_g1_first_run_walks_90_days_in_90_and_13_windows(make):
    """The first pass covers 90 days without a hole, in windows of each collector's own size."""
    calls = calls_of_chain()
    orchestrator = make(chain(calls))
    orchestrator.configure("t1", "acme", {})
    report = orchestrator.run()
    assert spans(calls["team"].of("t1")) == [(n, n + 1) for n in range(90)]
    assert spans(calls["commit"].of("t1")) == [(n, min(n + 7, 90)) for n in range(0, 90, 7)]
    assert report.windows.completed == 90 + 90 + 13
    assert not report.needs_action


def test_g1_thirty_days_later_exactly_the_missing_windows(make, clock):
    """After a month away only that month is collected."""
    calls = calls_of_chain()
    orchestrator = make(chain(calls))
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    for one in calls.values():
        one.made.clear()
    clock.advance(days=30)
    orchestrator.run()
    assert spans(calls["team"].of("t1")) == [(n, n + 1) for n in range(90, 120)]
    assert spans(calls["commit"].of("t1")) == [(90, 97), (97, 104), (104, 111), (111, 118), (118, 120)]


def test_second_pass_finds_nothing_to_do(make):
    """A pass right after another runs no window."""
    calls = calls_of_chain()
    orchestrator = make(chain(calls))
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    report = make(chain(calls)).run()
    assert (report.windows.completed, report.windows.failed) == (0, 0)
    assert not report.needs_action


def test_g5_failure_in_window_10_keeps_nine_and_bounds_dependents(make, clock):
    """Nine windows stay, dependents stop at the hole, a later pass goes on from the tenth."""
    calls = calls_of_chain()
    broken = [True]

    def fail_on_tenth(start, **_):
        if broken[0] and (start - START + 90 * DAY) / DAY == 9:
            raise ValueError("the tenth")

    orchestrator = make(chain(calls, team=fail_on_tenth))
    orchestrator.configure("t1", "acme", {})
    report = orchestrator.run()
    assert report.windows.failed == 1
    assert report.needs_action
    assert spans(calls["repository"].of("t1")) == [(n, n + 1) for n in range(9)]
    assert spans(calls["commit"].of("t1")) == [(0, 7), (7, 9)]
    broken[0] = False
    calls["team"].made.clear()
    calls["commit"].made.clear()
    clock.advance(hours=7)
    orchestrator.run()
    assert spans(calls["team"].of("t1"))[:2] == [(9, 10), (10, 11)]
    assert spans(calls["commit"].of("t1"))[0] == (9, 16)


def test_rate_limit_in_mid_window_resumes(make, clock):
    """What a checkpoint kept is there again, with the same bounds, after the limit is over."""
    calls, seen = Calls(), []

    def pages(context, **_):
        seen.append((context.resume, context.window))
        if context.resume is None:
            context.resume = {"page": 3}
            context.checkpoint()
            raise RateLimited(retry_after=600)

    options = CollectorOptions(initial_range=DAY)
    orchestrator = make({"acme.team": collector(recording(calls, pages), options=options)})
    orchestrator.configure("t1", "acme", {})
    report = orchestrator.run()
    assert (report.windows.failed, report.windows.waiting, report.needs_action) == (0, 1, False)
    assert next(orchestrator.status()).reason == "rate_limited"
    clock.advance(seconds=601)
    orchestrator.run()
    assert seen[1][0] == {"page": 3}
    assert seen[1][1] == seen[0][1]


def test_rate_limit_holds_the_whole_source_of_this_tenant_only(make):
    """Other collectors of the same tenant's source wait; other tenants go on."""
    first, second = Calls(), Calls()

    def limited(tenant_id, **_):
        if tenant_id == "t1":
            raise RateLimited(retry_after=600)

    options = CollectorOptions(initial_range=DAY)
    collectors = {
        "acme.a": collector(recording(first, limited), options=options),
        "acme.b": collector(recording(second), options=options),
    }
    orchestrator = make(collectors, concurrency=1)
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {})
    orchestrator.run()
    assert len(first.of("t1")) == 1
    assert second.of("t1") == []
    assert len(first.of("t2")) == len(second.of("t2")) == 1


def test_try_later_is_no_failure(make, clock):
    """A key that asked to be run later waits, and is then run again."""
    calls = Calls()

    def later(**_):
        if len(calls.made) == 1:
            raise TryLater(retry_after=timedelta(minutes=5))

    orchestrator = make({"acme.a": collector(recording(calls, later), options=CollectorOptions(initial_range=DAY))})
    orchestrator.configure("t1", "acme", {})
    report = orchestrator.run()
    assert (report.windows.failed, report.needs_action) == (0, False)
    clock.advance(minutes=6)
    assert orchestrator.run().windows.completed == 1


def test_window_too_large_is_halved_until_it_fits(make):
    """A window that is too large is cut, all of it is still collected, and the size grows back."""
    calls = Calls()

    def too_large(start, end, **_):
        if end - start > timedelta(hours=6):
            raise WindowTooLarge

    options = CollectorOptions(initial_range=2 * DAY)
    orchestrator = make({"acme.a": collector(recording(calls, too_large), options=options)})
    orchestrator.configure("t1", "acme", {})
    report = orchestrator.run()
    assert report.windows.failed == 0
    [row] = orchestrator.status()
    assert row.coverage == ((START - 2 * DAY, START),)


@pytest.mark.parametrize("fails", [False, True])
def test_g1_checkpoint_at_the_end_waits_for_the_return(make, fails):
    """There is no rest to go on with: the window is sealed once, when ``run`` returns, and not at all if it raises."""

    def to_the_end(start, end, context, **_):
        context.checkpoint(start + (end - start) / 2)
        context.checkpoint(end)
        if fails:
            raise ValueError("after the last checkpoint")

    orchestrator = make(
        {"acme.a": collector(recording(Calls(), to_the_end), options=CollectorOptions(initial_range=DAY))}
    )
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    sealed = [(row.window_start, row.window_end) for row in orchestrator.history() if row.status == "COMPLETED"]
    halves = [(START - DAY / 2, START), (START - DAY, START - DAY / 2)]
    assert sealed == halves[fails:]


@pytest.mark.parametrize(
    "until",
    [
        lambda start, end: start,
        lambda start, end: end + DAY,
        lambda start, end: end.replace(tzinfo=None),
        lambda start, end: "today",
    ],
    ids=["at the start", "beyond the end", "naive", "text"],
)
def test_a_checkpoint_outside_of_the_window_is_a_mistake_of_the_collector(make, until):
    """It is told as such, and holds no configuration responsible."""

    def outside(start, end, context, **_):
        context.checkpoint(until(start, end))

    orchestrator = make({"acme.a": collector(recording(Calls(), outside), options=CollectorOptions(initial_range=DAY))})
    orchestrator.configure("t1", "acme", {})
    assert orchestrator.run().windows.failed == 1
    [row] = orchestrator.explain()
    assert (row.reason, row.until is None) == ("collector_broken", False)
    assert "checkpoint(" in row.detail


def test_g1_checkpoint_until_seals_a_part(make, clock):
    """What was sealed by a checkpoint stays, though the rest of the window fails."""
    calls = Calls()

    def half(start, end, context, **_):
        if context.attempt == 1:
            context.checkpoint(start + (end - start) / 2)
            raise ValueError("after the half")

    options = CollectorOptions(initial_range=DAY)
    orchestrator = make({"acme.a": collector(recording(calls, half), options=options)})
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    [row] = orchestrator.status()
    assert row.coverage == ((START - DAY, START - DAY / 2),)
    assert row.last_fetched_data_date == START - DAY / 2
    clock.advance(minutes=2)
    orchestrator.run()
    assert next(orchestrator.status()).last_fetched_data_date == clock.now


def test_lookback_moves_only_the_start_that_run_is_given(make):
    """The window stays as planned; run is told to begin earlier."""
    calls, windows = Calls(), []
    options = CollectorOptions(initial_range=2 * DAY, lookback=timedelta(hours=1))
    action = lambda context, **_: windows.append(context.window)  # noqa: E731
    orchestrator = make({"acme.a": collector(recording(calls, action), options=options)})
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    assert [w.start - start for w, (_, start, _) in zip(windows, calls.made, strict=True)] == [timedelta(hours=1)] * 2


def test_snapshot_covers_for_its_dependents_until_it_is_due_again(make, clock):
    """A snapshot is one window from the history start; dependents go on between two of them."""
    snapshots, commits = Calls(), Calls()
    collectors = {
        "acme.repository": collector(
            recording(snapshots), options=CollectorOptions(initial_range=2 * DAY, snapshot=True)
        ),
        "acme.commit": collector(
            recording(commits), depends=("repository",), options=CollectorOptions(initial_range=2 * DAY)
        ),
    }
    orchestrator = make(collectors)
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    assert len(snapshots.made) == 1
    assert len(commits.made) == 2
    clock.advance(minutes=16)
    orchestrator.run()
    assert len(snapshots.made) == 2
    assert snapshots.made[1][1:] == (START - 2 * DAY, clock.now)
    assert commits.made[-1][1:] == (START, clock.now)


def test_max_windows_bounds_a_pass(make):
    """A pass ends after the given number of windows, and the next one goes on."""
    calls = Calls()
    orchestrator = make({"acme.a": collector(recording(calls))})
    orchestrator.configure("t1", "acme", {})
    assert orchestrator.run(max_windows=7).windows.completed == 7
    assert orchestrator.run().windows.completed == 83
    assert spans(calls.of("t1")) == [(n, n + 1) for n in range(90)]


def test_newest_first_collects_the_present_before_the_past(make):
    """A host may choose to show its customers the newest data first."""
    calls = Calls()
    orchestrator = make({"acme.a": collector(recording(calls))})
    orchestrator.configure("t1", "acme", {}, order="newest_first")
    orchestrator.run()
    assert spans(calls.of("t1")) == [(n, n + 1) for n in reversed(range(90))]


def test_max_windows_is_used_up_by_any_number_of_keys(make):
    """A window that was reserved and not needed goes back into the budget."""
    calls = Calls()
    orchestrator = make({"acme.a": collector(recording(calls))})
    for n in range(6):
        orchestrator.configure(f"t{n}", "acme", {}, since=START - DAY)
    assert orchestrator.run(max_windows=6).windows.completed == 6


def test_an_interval_of_nothing_collects_in_every_pass(make, clock):
    """A key without an interval is never parked."""
    options = CollectorOptions(initial_range=DAY, interval=timedelta(0))
    orchestrator = make({"acme.a": collector(recording(Calls()), options=options)})
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    clock.advance(days=2)
    assert orchestrator.run().windows.completed == 2


def test_data_that_settles_is_not_stale(make):
    """What must rest before it is collected is not late."""
    options = CollectorOptions(initial_range=DAY, settle=timedelta(hours=6))
    orchestrator = make({"acme.a": collector(recording(Calls()), options=options)})
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    assert not next(orchestrator.status()).stale


def test_a_shorter_interval_counts_at_once(make, clock):
    """Who configures an interval need not wait for the end of the old one."""
    orchestrator = make({"acme.a": collector(recording(Calls()), options=CollectorOptions(initial_range=DAY))})
    orchestrator.configure("t1", "acme", {}, interval=timedelta(days=7))
    orchestrator.run()
    clock.advance(hours=3)
    assert orchestrator.run().windows.completed == 0
    orchestrator.configure("t1", "acme", {}, interval=timedelta(minutes=15))
    assert orchestrator.run().windows.completed == 1
