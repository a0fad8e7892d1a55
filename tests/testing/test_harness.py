"""``CollectorHarness``: a window is disturbed at each of its points, on SQLite and on PostgreSQL."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Column, MetaData, Table, Text, select

from tenantcollect import ConfigurationError, Window, hookimpl, upsert
from tenantcollect.testing import COLLECTOR_POINTS, At, CollectorHarness, CrashAt, Crashed

START = datetime(2026, 5, 1, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=1))
METADATA = MetaData()
ITEM = Table("item", METADATA, Column("tenant_id", Text, primary_key=True), Column("id", Text, primary_key=True))
OURS = "shop.item"


class Items:
    """Passes every point but that of a checkpoint; writes two items, and keeps a cursor."""

    @hookimpl
    def tables(self):
        return METADATA

    @hookimpl
    def run(self, db, tenant_id, context):
        context.read(select(ITEM.c.id))
        context.progress(1, 2)
        context.warn("slow")
        context.raise_if_cancelled()
        self.write(db, tenant_id, context)
        context.cursor = "further"
        return 2

    def write(self, db, tenant_id, context):
        upsert(db, ITEM, [{"tenant_id": tenant_id, "id": name} for name in ("one", "two")])


class Pages(Items):
    """Writes page by page, and makes each durable."""

    def write(self, db, tenant_id, context):
        for page in range(context.resume or 0, 2):
            context.raise_if_cancelled()
            upsert(db, ITEM, [{"tenant_id": tenant_id, "id": ("one", "two")[page]}])
            context.resume = page + 1
            context.checkpoint()


class Nothing(Items):
    """Never uses db."""

    def write(self, db, tenant_id, context):
        """Nothing is written."""


@pytest.fixture
def opened(request, database_url):
    """Makes a harness of one collector on the test's database."""
    made = []

    def make(collector):
        made.append(CollectorHarness({OURS: collector}, history_start=START, url=database_url))
        return made[-1]

    yield make
    for harness in made:
        harness.close()


def ran(harness, at=None):
    """The window, as if for the first time."""
    harness.put_back({"item": []})
    harness.forget(OURS)
    return harness.run(OURS, WINDOW, env={}, at=at)


def ended(harness, act, points=COLLECTOR_POINTS):
    """Which error the window ends with, by the point at which something happens; those that commit are left out."""
    errors = {point: ran(harness, At(point, act)).error for point in points}
    return {point: type(error).__name__ for point, error in errors.items() if error is not None}


@pytest.mark.parametrize("collector", [Items, Nothing])
def test_a_lease_can_be_lost_at_every_point(opened, database_url, collector):
    """Told at any point up to its return, a window is not kept; in its commit it is lost while another may open it."""
    harness = opened(collector)
    points = [point for point in COLLECTOR_POINTS if point != "checkpoint"]
    before = points[: points.index("after_run")]
    in_commit = ["after_run"] if database_url.startswith("postgresql") else []
    if collector is Nothing:
        in_commit = ["after_run", "after_fence", "after_history", "before_commit"]
    assert ended(harness, harness.lose, points) == dict.fromkeys([*before, *in_commit], "LeaseLost")


def test_a_lease_lost_in_a_checkpoint(opened):
    """The rows before it are there or not, as its commit was; the window has ended either way, and the rest follows."""
    harness = opened(Pages)
    for point in COLLECTOR_POINTS:
        lost = ran(harness, At(point, harness.lose))
        assert type(lost.error).__name__ == "LeaseLost", point
        again = harness.run(OURS, WINDOW, env={})
        assert (again.error, len(again.rows["item"])) == (None, 2), point


def test_a_window_can_be_cancelled_at_every_point(opened):
    """Also while it is being opened, when there is no turn to tell yet; in its commit nobody is asked any more."""
    harness = opened(Items)
    before = COLLECTOR_POINTS[: COLLECTOR_POINTS.index("after_run")]
    told = dict.fromkeys([point for point in before if point != "checkpoint"], "WindowCancelled")
    assert ended(harness, harness.cancel) == told


def test_a_takeover_is_refused_while_the_window_writes(opened):
    """From the first use of db to the end of its commit: raised from the run too, whatever the collector catches."""
    harness = opened(Items)
    for point in ("returned", "after_run", "after_fence", "after_history", "before_commit"):
        with pytest.raises(ConfigurationError, match=r"at an earlier point, or lose\(\)"):
            ran(harness, At(point, lambda: harness.take_over(OURS, WINDOW, env={})))
        assert not harness.writing
    assert ran(harness, At("after_commit", lambda: harness.take_over(OURS, WINDOW, env={}))).error is None


def test_a_takeover_between_two_checkpoints(opened):
    """What a checkpoint has made durable is not doubled; the next one of the old holder is refused."""
    harness = opened(Pages)
    ours = ran(harness, At("after_commit", lambda: harness.take_over(OURS, WINDOW, env={})))
    assert type(ours.error).__name__ == "LeaseLost"
    assert [row["id"] for row in ours.rows["item"]] == ["one", "two"]


def test_a_crash_at_the_second_time(opened):
    """``nth`` chooses which checkpoint the window dies in."""
    harness = opened(Pages)
    first = ran(harness, CrashAt("before_commit"))
    second = ran(harness, CrashAt("before_commit", nth=2))
    assert isinstance(second.error, Crashed)
    assert [len(run.rows["item"]) for run in (first, second)] == [0, 1]


@pytest.mark.parametrize(("point", "cursor", "kept"), [("before_commit", None, 0), ("after_commit", "further", 2)])
def test_after_a_crash_the_database_is_asked(opened, point, cursor, kept):
    """Rows and cursor are those that are durable, whatever the walk still knew."""
    crashed = ran(opened(Items), CrashAt(point))
    assert (crashed.cursor, len(crashed.rows["item"])) == (cursor, kept)


@pytest.mark.parametrize(
    ("told", "error", "words"),
    [
        ({"cursor": {1, 2}}, ConfigurationError, "cursor must be a JSON value"),
        ({"resume": START}, ConfigurationError, "resume must be a JSON value"),
        ({"tenant_id": ""}, ConfigurationError, "tenant_id must not be empty"),
        ({"clock": START}, TypeError, "clock must be a function that returns the time"),
        ({"clock": lambda: "now"}, ConfigurationError, "must be a datetime, not str"),
    ],
)
def test_mistakes_of_the_test_are_raised(told, error, words):
    """What no window could be run with is not returned as what the collector did."""
    with (
        CollectorHarness({OURS: Items}, history_start=START) as harness,
        pytest.raises(error, match=words),
    ):
        harness.run(OURS, WINDOW, env={}, **told)
