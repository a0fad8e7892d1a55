"""``collect()``: one window of one collector, by the rules of the real engine."""

import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import ModuleType

import pytest
from pydantic import BaseModel, SecretStr
from sqlalchemy import Column, DateTime, MetaData, Table, Text, TypeDecorator, select

from tenantcollect import (
    AuthenticationError,
    CollectorOptions,
    ConfigurationError,
    PluginError,
    RateLimited,
    TransactionBroken,
    hookimpl,
    upsert,
)
from tenantcollect.sources.git import commit
from tenantcollect.testing import At, CollectorHarness, CrashAt, Crashed, VirtualClock, collect
from tenantcollect.testing.finding import registry_of
from tenantcollect.windows import Window

START = datetime(2026, 5, 1, tzinfo=UTC)
END = START + timedelta(days=1)
ENV = {"CRM_TOKEN": "a-token-for-tests"}
METADATA = MetaData()
CONTACT = Table(
    "crm_contact",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("changed_at", DateTime(timezone=True)),
)
ELSEWHERE = Table("crm_team", MetaData(), Column("name", Text, primary_key=True))
ADA = {"tenant_id": "acme", "id": "ada", "changed_at": START}


FARM = """
from sqlalchemy import Column, MetaData, Table, Text
from tenantcollect import hookimpl

METADATA = MetaData()
Table("animal", METADATA, Column("tenant_id", Text, primary_key=True))


class Farm:
    @hookimpl
    def tables(self):
        return METADATA


class Animal:
    @hookimpl
    def run(self, context):
        context.raise_if_cancelled()


ANIMAL = Animal()
"""


class Config(BaseModel):
    CRM_TOKEN: SecretStr


class Source:
    """What a data source's plugin has."""

    @hookimpl
    def config(self):
        return Config

    @hookimpl
    def tables(self):
        return METADATA


class Contact(Source):
    """Its data source's only script, which does what ``act`` says."""

    def __init__(self, act=None):
        self.act = act or (lambda **_: None)

    @hookimpl
    async def run(self, env, config, db, tenant_id, start_date, end_date, context):
        told = {"env": env, "config": config, "db": db, "context": context, "start": start_date, "end": end_date}
        upsert(db, CONTACT, [{"tenant_id": tenant_id, "id": "ada", "changed_at": start_date}])
        return self.act(**told) or 1


class Script:
    """One script of several: what it shares stands in ``Source``."""

    @hookimpl
    def options(self):
        return CollectorOptions(lookback=timedelta(hours=6))

    @hookimpl
    def run(self, config, db, tenant_id, start_date):
        upsert(
            db, CONTACT, [{"tenant_id": tenant_id, "id": config.CRM_TOKEN.get_secret_value(), "changed_at": start_date}]
        )


def collected(act=None, **told):
    """A day of the only script."""
    return collect(Contact(act), env=ENV, **{"start": START, "end": END, **told})


def test_a_window_gives_rows_records_and_no_error():
    """The rows of the own tables come back by name, with aware times; an async run is awaited."""
    found = collected()
    assert (found.error, found.records, found.warnings, found.cursor) == (None, 1, (), None)
    assert found.rows == {"crm_contact": [ADA]}


def test_what_run_is_given_is_what_the_engine_gives():
    """env, config, the dates and the context hold what the call named."""
    seen = {}
    collected(lambda **told: seen.update(told), cursor={"page": 7}, resume=[1])
    assert seen["env"] == ENV
    assert seen["config"].CRM_TOKEN.get_secret_value() == ENV["CRM_TOKEN"]
    assert (seen["start"], seen["end"]) == (START, END)
    context = seen["context"]
    assert (context.window, context.cursor, context.resume) == (Window(START, END), {"page": 7}, [1])
    assert (context.history_start, context.attempt) == (START, 1)


def test_cursor_resume_and_warnings_come_back():
    """What a run leaves behind can be looked at, and given to the next."""

    def act(context, **_):
        context.cursor = {"page": context.cursor["page"] + 1}
        context.warn("one page is empty")

    found = collected(act, cursor={"page": 1})
    assert (found.cursor, found.warnings) == ({"page": 2}, ("one page is empty",))


def test_an_error_is_returned_and_nothing_is_kept():
    """What run() raises is the error; rows and cursor stay as they were."""

    def act(context, **_):
        context.cursor = "further"
        raise AuthenticationError

    found = collected(act, cursor="here", seed={"crm_contact": [{**ADA, "id": "bob"}]})
    assert isinstance(found.error, AuthenticationError)
    assert (found.records, found.cursor) == (None, "here")
    assert [row["id"] for row in found.rows["crm_contact"]] == ["bob"]


def test_a_checkpoint_stays_and_the_next_call_goes_on_there():
    """After a rate limit rows and resume point are there, and can be the seed of the next call."""

    def act(context, **_):
        context.resume = "page 2"
        context.checkpoint()
        raise RateLimited

    limited = collected(act)
    assert isinstance(limited.error, RateLimited)
    assert (limited.records, limited.resume, limited.rows) == (None, "page 2", {"crm_contact": [ADA]})
    seen = []
    done = collected(lambda context, **_: seen.append(context.resume), seed=limited.rows, resume=limited.resume)
    assert seen == ["page 2"]
    assert (done.error, done.resume, done.rows) == (None, None, {"crm_contact": [ADA]})


@pytest.mark.parametrize("deed", ["rollback", "close"])
def test_the_rules_of_db_are_the_real_ones(deed):
    """commit() joins; rollback() and close() fail the window, also when the error is swallowed."""

    def act(db, **_):
        db.commit()
        with suppress(TransactionBroken):
            getattr(db, deed)()

    found = collected(act)
    assert isinstance(found.error, TransactionBroken)
    assert found.rows == {"crm_contact": []}


def test_a_seed_is_there_before():
    """Rows by table name, by Table of another package, or by a function; context.read sees them."""
    seen = []

    def act(context, **_):
        seen.extend(row.name for row in context.read(select(ELSEWHERE.c.name)))

    bob = {**ADA, "id": "bob"}
    found = collected(act, seed={ELSEWHERE: [{"name": "core"}], "crm_contact": [bob]})
    assert (found.error, seen) == (None, ["core"])
    assert found.rows["crm_contact"] == [ADA, bob]
    assert collected(seed=lambda db: upsert(db, CONTACT, [bob])).rows["crm_contact"] == [ADA, bob]


def test_a_script_of_several_takes_its_source_along():
    """``source`` brings config() and tables(); the options of the script are honoured."""
    found = collect(Script, source=Source, env=ENV, start=START, end=END, tenant_id="globex")
    [row] = found.rows["crm_contact"]
    assert row == {"tenant_id": "globex", "id": ENV["CRM_TOKEN"], "changed_at": START - timedelta(hours=6)}


def test_an_installed_module_brings_its_source_by_itself(tmp_path):
    """What an entry point names is known by that name, with the plugin of its data source."""
    missing = collect(commit, env={"GIT_REPOSITORY": str(tmp_path)}, start=START, end=END)
    assert isinstance(missing.error, ConfigurationError)
    assert set(missing.rows) == {"git_branch", "git_commit", "git_contributor", "git_tag"}


def test_an_installed_module_brings_no_other_source(tmp_path, monkeypatch):
    """Whatever else is installed is neither imported nor given tables."""
    metadata = tmp_path / "acme_zoo-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-zoo\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text("[tenantcollect.collectors]\nzoo.animal = acme_zoo\n", encoding="utf-8")
    (tmp_path / "acme_zoo.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_zoo", raising=False)
    registry_of(commit)[1].source("git")
    assert registry_of(commit)[1].data_sources() == ["git"]
    assert "acme_zoo" not in sys.modules


@pytest.mark.parametrize("given", ["Animal", "Animal()", "ANIMAL"])
def test_an_instance_of_an_installed_class_brings_its_source_too(tmp_path, monkeypatch, given):
    """A test may give its collector arguments, or make no instance where the package names one."""
    metadata = tmp_path / "acme_farm-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-farm\nVersion: 1.0\n", encoding="utf-8")
    named = "ANIMAL" if given == "Animal" else "Animal"
    points = f"[tenantcollect.collectors]\nfarm = acme_farm:Farm\nfarm.animal = acme_farm:{named}\n"
    (metadata / "entry_points.txt").write_text(points, encoding="utf-8")
    (tmp_path / "acme_farm.py").write_text(FARM, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_farm", raising=False)
    collector = eval(given, vars(import_module("acme_farm")))
    found = collect(collector, env={}, start=START, end=END)
    assert (found.error, found.rows) == (None, {"animal": []})


def test_a_module_is_named_after_itself():
    """Without an entry point the names come from the module: what depends on nothing provides its own name."""
    module = ModuleType("acme_crm.Contact-List")
    module.run = hookimpl(lambda context: context.warn(context.logger.logger.name))
    module.run.__module__ = module.__name__
    [said] = collect(module, env={}, start=START, end=END).warnings
    assert said == "tenantcollect.collectors.acme_crm.contact-list"


@pytest.mark.parametrize(
    ("told", "error", "cure"),
    [
        ({"start": START.replace(tzinfo=None)}, ConfigurationError, "no time zone"),
        ({"end": END.replace(tzinfo=None)}, ConfigurationError, "no time zone"),
        ({"end": START}, ConfigurationError, "must end after it starts"),
        ({"clock": VirtualClock(START)}, ConfigurationError, "ends after clock"),
        ({"seed": {"crm_contacts": []}}, ConfigurationError, "tables.. has crm_contact"),
        (
            {"seed": {"crm_contact": [{**ADA, "changed_at": datetime(2026, 1, 1)}]}},  # noqa: DTZ001 - refused
            ConfigurationError,
            "no time zone",
        ),
    ],
)
def test_what_cannot_be_is_refused(told, error, cure):
    """Naive times, a window of the future and a seed for no table are the test's own mistakes: raised."""
    with pytest.raises(error, match=cure):
        collected(**told)


def test_an_env_that_config_refuses_is_raised():
    """The wrong key is named, its value is not."""
    with pytest.raises(ConfigurationError, match="did you mean CRM_TOKEN") as refused:
        collect(Contact, env={"CRM_TOKENS": "a-secret"}, start=START, end=END)
    assert "a-secret" not in str(refused.value)


def test_hooks_that_cannot_work_are_raised():
    """A plugin without run() is refused with its cure."""
    with pytest.raises(PluginError, match=r"has no run\(\)"):
        collect(Source, env=ENV, start=START, end=END)


def test_a_harness_crashes_cancels_and_repeats():
    """At a named point the window ends; what is left of it is known, and can be run again."""
    window = Window(START, END)
    with CollectorHarness({"crm.contact": Contact}, history_start=START) as harness:
        crashed = harness.run("crm.contact", window, env=ENV, at=CrashAt("before_commit"))
        assert isinstance(crashed.error, Crashed)
        assert (crashed.rows["crm_contact"], harness.rest("crm.contact", window)) == ([], [window])
        cancelled = harness.run("crm.contact", window, env=ENV, at=At("run", harness.cancel))
        assert type(cancelled.error).__name__ == "WindowCancelled"
        overtaken = harness.run(
            "crm.contact", window, env=ENV, at=At("run", lambda: harness.take_over("crm.contact", window, env=ENV))
        )
        assert type(overtaken.error).__name__ == "LeaseLost"
        assert (harness.rows()["crm_contact"], harness.rest("crm.contact", window)) == ([ADA], [])


def test_a_decorated_type_that_changes_no_value_is_written_as_any_other():
    """Every value that is bound is looked at, as its own type hands it on."""

    class Name(TypeDecorator):
        impl = Text
        cache_ok = True

    metadata = MetaData()
    person = Table("person", metadata, Column("tenant_id", Text, primary_key=True), Column("name", Name))

    class People:
        @hookimpl
        def tables(self):
            return metadata

        @hookimpl
        def run(self, db, tenant_id):
            db.execute(person.insert().values(tenant_id=tenant_id, name="Ada"))

    collected = collect(People(), env={}, start=START, end=END)
    assert collected.error is None
    assert collected.rows["person"] == [{"tenant_id": "acme", "name": "Ada"}]
