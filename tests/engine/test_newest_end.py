"""What goes by the newest end of a key: its cursor, and how far its data reaches."""

from datetime import timedelta

from tenantcollect import CollectorOptions
from tenantcollect.keys import EVERYTHING
from tests.engine.conftest import START, Calls, collector, recording

DAY = timedelta(days=1)


def test_cursor_is_kept_only_by_the_newest_end(make, clock):
    """A window that fills a hole does not take the cursor back."""
    seen = []

    def remember(context, end, **_):
        seen.append(context.cursor)
        context.cursor = end.isoformat()

    options = CollectorOptions(initial_range=2 * DAY)
    orchestrator = make({"acme.a": collector(recording(Calls(), remember), options=options)})
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    assert seen == [None, (START - DAY).isoformat()]
    orchestrator.backfill("t1", since=START - 4 * DAY)
    orchestrator.run()
    assert seen[2:] == [START.isoformat()] * 2
    orchestrator.replay("t1", start=START - 2 * DAY, end=START - DAY)
    orchestrator.run()
    assert next(orchestrator.state.load(EVERYTHING)).cursor == START.isoformat()


def test_data_is_reached_as_far_as_there_is_no_hole(make):
    """The newest window comes first where that was ordered; the data date moves when nothing is missing before it."""
    options = CollectorOptions(initial_range=3 * DAY)
    orchestrator = make({"acme.a": collector(recording(Calls()), options=options)})
    orchestrator.configure("t1", "acme", {}, order="newest_first")
    reached = []
    for _ in range(3):
        orchestrator.run(max_windows=1)
        [row] = orchestrator.status()
        reached.append(row.last_fetched_data_date)
    assert reached == [None, None, START]
