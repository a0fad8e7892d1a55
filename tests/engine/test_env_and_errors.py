"""What a collector is given of its tenant, and what is kept of its errors: G4, G6."""

import threading
from datetime import timedelta

import pytest
from pydantic import BaseModel

from tenantcollect import AuthenticationError, CollectorOptions, ConfigurationError, Secret, WindowCancelled, hookimpl
from tenantcollect.backends.memory.transaction import MemoryTransaction
from tenantcollect.errors import DatabaseUnavailable, LeaseLost, Overloaded, StorageError

from .conftest import Calls, collector, recording


class Anywhere(BaseModel):
    URL: str


class Open:
    """A collector whose config has no secret."""

    @hookimpl
    def config(self):
        return Anywhere

    @hookimpl
    def run(self): ...


DAY = timedelta(days=1)
ONE_DAY = CollectorOptions(initial_range=DAY)


def test_g6_a_secret_in_an_error_is_masked_everywhere(make, caplog):
    """The value of a secret appears in no history row, status, event or log."""
    secret = "hunter2-very-secret"
    seen = []

    def leak(env, context, **_):
        context.warn(f"with {secret}")
        context.logger.warning("token %s", secret)
        raise ValueError(f"https://api/?key={secret}")

    orchestrator = make({"acme.a": collector(recording(Calls(), leak), options=ONE_DAY)})
    orchestrator.subscribe(seen.append)
    orchestrator.configure("t1", "acme", {"TOKEN": secret})
    report = orchestrator.run()
    everything = repr([report, list(orchestrator.status()), list(orchestrator.history()), seen]) + caplog.text
    assert secret not in everything
    assert "key=***" in everything
    assert orchestrator.config("t1", "acme") == {"TOKEN": "***"}


def test_a_collector_sees_only_its_own_env(make):
    """Exactly the env of its own tenant and data source."""
    seen = {}

    def look(env, tenant_id, **_):
        seen[tenant_id] = env

    orchestrator = make(
        {
            "acme.a": collector(recording(Calls(), look), options=ONE_DAY),
            "jira.a": collector(recording(Calls()), options=ONE_DAY),
        }
    )
    orchestrator.configure("t1", "acme", {"A": "one"})
    orchestrator.configure("t2", "acme", {"A": "two"})
    orchestrator.configure("t1", "jira", {"J": "three"})
    orchestrator.run()
    assert seen == {"t1": {"A": "one"}, "t2": {"A": "two"}}


def test_an_error_is_kept_with_its_cause(make):
    """What led to an error is as telling as the error."""

    def fail(**_):
        raise RuntimeError("outer") from OSError("inner reason")

    orchestrator = make({"acme.a": collector(recording(Calls(), fail), options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    [row] = orchestrator.history()
    assert row.error.startswith("RuntimeError: outer\n")
    assert "test_env_and_errors.py" in row.error
    assert row.error.endswith("caused by OSError: inner reason")


def test_an_error_of_an_async_collector_shows_its_own_frames_only(make):
    """Nobody can mend it in the event loop."""

    class Async:
        @hookimpl
        async def run(self):
            raise RuntimeError("inner")

    orchestrator = make({"acme.a": Async()})
    orchestrator.configure("t1", "acme", {})
    orchestrator.run(max_windows=1)
    [row] = orchestrator.history()
    assert "test_env_and_errors.py" in row.error
    assert "asyncio" not in row.error


def test_auth_is_tried_once_more_with_a_freshly_resolved_env(make):
    """A short-lived token that was refused is resolved anew before anybody is called."""
    tokens, seen = iter(["old", "new"]), []

    def refuse_old(env, **_):
        seen.append(env["TOKEN"])
        if env["TOKEN"] == "old":
            raise AuthenticationError

    orchestrator = make(
        {"acme.a": collector(recording(Calls(), refuse_old), options=ONE_DAY)},
        resolve_env=lambda tenant_id, data_source, stored: {**stored, "TOKEN": next(tokens)},
    )
    orchestrator.configure("t1", "acme", {})
    assert orchestrator.run().windows.completed == 1
    assert seen == ["old", "new"]


def test_g6_a_secret_stays_one_when_it_is_set_anew(make):
    """A key once marked secret is secret, also when the next change does not say so."""
    orchestrator = make({"acme.a": collector(recording(Calls()), options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {"URL": "https://one"}, secrets="URL")
    orchestrator.configure("t1", "acme", {"URL": "https://two"})
    assert orchestrator.config("t1", "acme") == {"URL": "***"}


@pytest.mark.parametrize("env", [None, [("A", "b")], "A=b"])
def test_an_env_that_is_no_mapping_is_refused(make, env):
    """A clear error, before anything is stored."""
    orchestrator = make({"acme.a": collector(recording(Calls()), options=ONE_DAY)})
    with pytest.raises(ConfigurationError, match="mapping"):
        orchestrator.configure("t1", "acme", env)


def test_g6_what_resolve_env_repeats_is_masked(make):
    """A stored secret in the error of the host's own function, and a token that was minted and refused."""
    minted = iter(f"minted-token-{n:04}" for n in range(10))

    def resolve(tenant_id, data_source, stored):
        if tenant_id == "t1":
            raise AuthenticationError(f"refused {stored['K']}")
        return {**stored, "TOKEN": next(minted)}

    def refuse(env, **_):
        raise AuthenticationError(f"not good: {env['TOKEN']}")

    orchestrator = make({"acme.a": collector(recording(Calls(), refuse), options=ONE_DAY)}, resolve_env=resolve)
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {"K": "stored-secret"})
    orchestrator.run()
    everything = repr([list(orchestrator.history()), list(orchestrator.explain()), list(orchestrator.status())])
    assert "stored-secret" not in everything
    assert "minted-token" not in everything
    assert "refused ***" in everything


def test_g4_a_hung_resolve_env_costs_its_own_window(make):
    """The clock of a window runs from before its env is asked for."""
    release = threading.Event()

    def resolve(tenant_id, data_source, stored):
        if tenant_id == "t1":
            release.wait(30)
        return stored

    collectors = {"acme.a": collector(recording(Calls()), options=ONE_DAY)}
    orchestrator = make(collectors, resolve_env=resolve, window_timeout=timedelta(seconds=0.2))
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {})
    report = orchestrator.run()
    release.set()
    assert (report.windows.completed, report.windows.failed) == (1, 1)


def test_g4_an_error_that_cannot_be_written_costs_its_own_window(make):
    """Somebody else's __str__ is somebody else's code."""

    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    def fail(tenant_id, **_):
        if tenant_id == "t1":
            raise Odd

    orchestrator = make({"acme.a": collector(recording(Calls(), fail), options=ONE_DAY)})
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {})
    report = orchestrator.run()
    assert (report.windows.completed, report.windows.failed) == (1, 1)


def test_g2_a_context_that_was_kept_seals_nothing_of_a_later_window(make):
    """A thread that outlived its window cannot make half of the next one durable."""
    kept, refused = [], []

    def keep(context, **_):
        kept.append(context)
        if len(kept) == 2:
            with pytest.raises(WindowCancelled):
                kept[0].checkpoint(kept[0].window.start + timedelta(hours=1))
            refused.append(True)

    options = CollectorOptions(initial_range=3 * DAY)
    orchestrator = make({"acme.a": collector(recording(Calls(), keep), options=options)})
    orchestrator.configure("t1", "acme", {})
    assert orchestrator.run().windows.completed == 3
    assert refused == [True]


def test_a_storage_error_stops_the_pass_and_its_key_lets_others_go_first(make, monkeypatch):
    """A disk that is full is not tried again and again; whose window met it does not come first next time (G4)."""
    calls = Calls()

    def seal(transaction, seal):
        if transaction.claim.key.tenant_id == "t1":
            raise StorageError("SQLITE_FULL")
        return sealing(transaction, seal)

    sealing = MemoryTransaction.seal
    monkeypatch.setattr(MemoryTransaction, "seal", seal)
    orchestrator = make({"acme.a": collector(recording(calls), options=ONE_DAY)}, concurrency=1)
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {})
    report = orchestrator.run()
    assert "SQLITE_FULL" in report.error
    assert [tenant for tenant, *_ in calls.made] == ["t1"]
    report = orchestrator.run()
    assert report.error is None
    assert [tenant for tenant, *_ in calls.made] == ["t1", "t2"]


@pytest.mark.parametrize("kind", [StorageError, DatabaseUnavailable, Overloaded, LeaseLost, WindowCancelled])
def test_g4_what_only_the_engine_may_raise_costs_a_collector_its_own_window(make, kind):
    """An error of ours that a collector raises by itself stops nobody else, and is no excuse."""

    def claim(tenant_id, **_):
        if tenant_id == "t1":
            raise kind("I say so")

    orchestrator = make({"acme.a": collector(recording(Calls(), claim), options=ONE_DAY)}, concurrency=1)
    for tenant in ("t1", "t2"):
        orchestrator.configure(tenant, "acme", {})
    report = orchestrator.run()
    assert report.error is None
    assert (report.windows.completed, report.windows.failed) == (1, 1)
    [row] = orchestrator.status("t1")
    assert (row.reason, row.failures) == ("collector_broken", 1)
    assert f"raised {kind.__name__} by itself" in row.error


def test_g6_a_number_that_is_a_secret_is_masked_in_what_a_log_record_has_beside_its_text(make, caplog):
    """A PIN is often converted; any other number stays one."""

    def log(context, **_):
        context.logger.warning("checked", extra={"pin": int("90817263"), "seconds": 1.5, "retries": 0, "done": True})

    orchestrator = make({"acme.a": collector(recording(Calls(), log), options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {"PIN": "90817263"})
    orchestrator.run()
    [record] = [record for record in caplog.records if "checked" in record.getMessage()]
    assert (record.pin, record.seconds, record.retries, record.done) == ("***", 1.5, 0, True)


def test_marking_a_value_as_secret_loses_none_that_is_set_meanwhile(make, backend, monkeypatch):
    """What is marked is what stands there then."""
    orchestrator = make({"acme.a": Open()})
    orchestrator.configure("t1", "acme", {"URL": "https://old"})
    write = type(backend.catalog).write

    def late(catalog, *given, marked=(), **more):
        if marked:
            orchestrator.configure("t1", "acme", {"URL": "https://newer"})
        write(catalog, *given, marked=marked, **more)

    monkeypatch.setattr(type(backend.catalog), "write", late)
    orchestrator.configure("t1", "acme", {}, secrets=["URL"])
    assert orchestrator.config("t1", "acme") == {"URL": "***"}
    assert backend.catalog.env("t1", "acme") == {"URL": "https://newer"}


def test_several_sources_are_configured_together_or_not_at_all(make, backend):
    """Also where only the last one is wrong; what was there before stays as it was."""
    orchestrator = make({"acme.a": Open(), "jira.a": collector(recording(Calls()), options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {"URL": "https://old"})
    with pytest.raises(ConfigurationError, match="URL"):
        orchestrator.configure_all(
            {("t1", "acme"): {"URL": "https://new"}, ("t1", "jira"): {"A": "1"}, ("t2", "acme"): {"URLS": "x"}}
        )
    assert backend.catalog.env("t1", "acme") == {"URL": "https://old"}
    assert [(one.tenant_id, one.data_source) for one in orchestrator.configured()] == [("t1", "acme")]
    orchestrator.configure_all({("t1", "jira"): {"A": Secret("1")}, ("t2", "acme"): {"URL": Secret("https://new")}})
    assert orchestrator.config("t2", "acme") == {"URL": "***"}
    assert len(list(orchestrator.status())) == 3
