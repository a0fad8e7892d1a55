"""PROTOCOL section 9 on the API, row by row; what other tests prove in depth is proved here once, end to end."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import create_engine, text

from tenantcollect import ConfigurationError, Orchestrator, connect, hookimpl
from tenantcollect.reports import ExplainRow
from tests.bad_input.conftest import BOTH
from tests.bad_input.hub import COLLECTORS, SECRET, VALUE, Thing, crowded
from tests.unit.conftest import Packages

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"
DAY = timedelta(days=1)


def after(hub: Orchestrator, way: str, **env: str) -> str:
    """All that can be read after a pass in which the bad tenant did this; the good one's window was completed."""
    hub.configure("bad", "hub", {"WAY": way, "TOKEN": SECRET, **env})
    report = hub.run()
    assert {row.tenant_id for row in hub.history() if row.status == "COMPLETED"} >= {"good"}
    read = [list(hub.history("bad")), list(hub.status("bad")), list(hub.explain("bad")), list(hub.check("bad"))]
    return repr([report, *read])


def error_of(hub: Orchestrator) -> str:
    """The stored error of the bad tenant's newest attempt."""
    [row] = hub.history("bad", limit=1)
    assert row.error is not None
    return row.error


def explained(hub: Orchestrator, tenant_id: str = "bad") -> ExplainRow:
    """Why the tenant's key does or does not run."""
    [row] = hub.explain(tenant_id)
    return row


@pytest.mark.parametrize("way", ["message", "cause", "model", "exits", "number", "forged"])
def test_secret_in_exception_traceback_repr_log_history_json(
    hub: Orchestrator, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Masked by value, url-encoded too; no locals in tracebacks; pydantic errors without the input value."""
    told = after(hub, way) + caplog.text
    assert hub.config("bad", "hub")["TOKEN"] == "***"
    assert SECRET[:8] not in told
    assert quote(SECRET, safe="")[:10] not in told


@BOTH
@pytest.mark.parametrize("way", ["unique", "missing", "long", "typed"])
def test_database_errors_that_repeat_data(hub: Orchestrator, way: str) -> None:
    """Stored as class, SQLSTATE, constraint, column; DETAIL and the row never."""
    assert VALUE not in after(hub, way)
    error = error_of(hub)
    assert error.startswith(("IntegrityError", "DataError"))
    assert any(code in error for code in ("SQLSTATE 2", "SQLSTATE SQLITE_CONSTRAINT"))
    if way in ("unique", "missing"):  # of a value that does not fit PostgreSQL does not say the column
        assert "bad_input_thing" in error


@pytest.mark.parametrize("beside", ["", "password=hunter2", "sslpassword=hunter2%26hunter2"])
def test_password_in_a_url_is_shown_nowhere(beside: str) -> None:
    """Who is given an orchestrator's description or error reads no password, wherever it stands in the URL."""
    url = f"{NOWHERE.replace('nobody', 'me:hunter2')}?{beside}"
    with connect(url) as orchestrator:
        assert orchestrator.schema is not None
        assert "hunter2" not in orchestrator.schema.described()
        with pytest.raises(Exception, match="cannot be reached") as refused:
            list(orchestrator.status())
    assert "hunter2" not in repr(refused.value)


@pytest.mark.parametrize("name", ['x"; DROP TABLE things; --', "x" * 64, "", "a\0b", "Ä"])
@pytest.mark.parametrize("what", ["schema", "collector_role"])
def test_schema_or_role_name(what: Any, name: str) -> None:
    """Only ``^[a-z_][a-z0-9_]{0,62}$`` is taken, before anything connects."""
    with pytest.raises(ConfigurationError, match=what) as refused:
        connect(NOWHERE, **{what: name})
    assert what in refused.value.fields


@pytest.mark.parametrize("tenant_id", ["", " a", "a ", "a\0b", "a\ud800", "a\nb", "a\u202eb", "x" * 201, 7, b"a"])
def test_tenant_that_is_none(tenant_id: Any) -> None:
    """ConfigurationError before any connection, also for those that only read."""
    orchestrator = connect(NOWHERE, collectors=COLLECTORS)
    calls = (
        lambda: orchestrator.configure(tenant_id, "hub", {}),
        lambda: orchestrator.config(tenant_id, "hub"),
        lambda: orchestrator.run([tenant_id]),
        lambda: orchestrator.run(tenant_id),
        lambda: list(orchestrator.status([tenant_id])),
        lambda: list(orchestrator.history([tenant_id])),
        lambda: orchestrator.pause([tenant_id]),
        lambda: orchestrator.disconnect(tenant_id, "hub"),
    )
    for call in calls:
        with pytest.raises(ConfigurationError, match="tenant_id") as refused:
            call()
        assert "tenant_id" in refused.value.fields


@pytest.mark.parametrize("name", ["", "Hub", "a.b", "a\0", "a\ud800", "1st", "x" * 64, " hub", 'h"; DROP', 7])
def test_source_or_script_that_is_none(name: Any) -> None:
    """ConfigurationError before any connection."""
    orchestrator = connect(NOWHERE, collectors=COLLECTORS)
    with pytest.raises(ConfigurationError, match="data_source"):
        orchestrator.configure("good", name, {})
    for chosen, what in (((None, [name]), "data_source"), ((None, None, [name]), "script")):
        with pytest.raises(ConfigurationError, match=what):
            orchestrator.run(*chosen)


@pytest.mark.parametrize("settings", [{"grace": "1"}, {"lease_ttl": 1}, {"concurrency": 2.5}, {"retry_delay": -1}])
def test_setting_that_is_none(settings: dict[str, Any]) -> None:
    """ConfigurationError before any connection."""
    with pytest.raises(ConfigurationError) as refused:
        connect(NOWHERE, **settings)
    assert set(refused.value.fields) == set(settings)


@pytest.mark.parametrize("limit", [-1, 2.5, "2", True])
def test_limit_that_is_none(hub: Orchestrator, limit: Any) -> None:
    """ConfigurationError from whatever reads."""
    for read in (hub.status, hub.plan, hub.explain, hub.history):
        with pytest.raises(ConfigurationError, match=r"^limit must be a whole number"):
            read(limit=limit)


def test_argument_of_a_wrong_type(hub: Orchestrator) -> None:
    """ConfigurationError."""
    with pytest.raises(ConfigurationError, match=r"^detail must be text, not int"):
        hub.pause("good", detail=5)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^timeout must be a timedelta or a number of seconds"):
        hub.check(timeout="soon")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^tenant_id must be text, not int"):
        hub.run(5)  # type: ignore[arg-type]


def test_tenants_are_compared_after_nfc(hub: Orchestrator) -> None:
    """One tenant, however its name was typed."""
    hub.configure("caf\u0065\u0301", "hub", {"WAY": "fine"})
    assert hub.config("caf\u00e9", "hub") == {"WAY": "fine"}
    assert hub.run("caf\u00e9").windows.completed == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ValueError('at import')", "ValueError: at import at "),
        ("import no_such_module", "no_such_module"),
        ("raise SystemExit(3)", "SystemExit: 3 at "),
        ("def run(:", "wrong_plugin.py:1"),
        ("@hookimpl\ndef run(tenant): ...", "tenant_id"),
        ("@hookimpl\ndef run(env):\n  yield 1", "generator"),
        ("@hookimpl\ndef run(): ...\n@hookimpl\ndef provides(): return 7", "provides() must return a list"),
        ("@hookimpl\ndef run(): ...\n@hookimpl\ndef provides(): return 7", "wrong_plugin.py:4"),
    ],
)
def test_entry_point_that_cannot_be_loaded(url: str, packages: Packages, source: str, said: str) -> None:
    """Listed as failed with the reason, the place and the package; all else goes on."""
    module = source if source.startswith("raise") else f"from tenantcollect import hookimpl\n{source}"
    line = 3 if source != module else 2
    packages.install("wrong-pkg", "1.2", {"wrong.thing": "wrong_plugin"}, modules={"wrong_plugin": module})
    with connect(url, collectors=COLLECTORS) as hub:
        [row] = [row for row in hub.plugins() if row.name == "wrong.thing"]
        assert row.error is not None
        assert "wrong-pkg 1.2" in row.error
        assert said.replace("py:1", f"py:{line - 1}").replace("py:4", "py:4") in row.error
        hub.configure("bad", "wrong", {})
        hub.configure("bad", "hub", {})
        assert hub.run().windows.completed == 1
        [broken] = hub.explain("bad", "wrong")
        assert (broken.reason, broken.action) == (
            "collector_broken",
            "repair or upgrade the package of wrong.thing; see: tenantcollect plugins",
        )


def test_entry_point_of_the_same_name_or_of_none(url: str, packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both packages are named, with the cure, which the allow-list brings about."""
    good = "from tenantcollect import hookimpl\n@hookimpl\ndef run(): return 1"
    for package in ("first-pkg", "second-pkg"):
        packages.install(package, "1.0", {"twice.thing": package[:5]}, modules={package[:5]: good})
    packages.install("third-pkg", "1.0", {"Bad Name": "first", "a.b.c": "first"})
    with connect(url) as hub:
        errors = {row.name: row.error for row in hub.plugins()}
    assert "first-pkg" in (errors["twice.thing"] or "")
    assert "second-pkg" in (errors["twice.thing"] or "")
    assert "TENANTCOLLECT_PLUGINS" in (errors["twice.thing"] or "")
    assert "third-pkg" in (errors["Bad Name"] or "")
    assert "third-pkg" in (errors["a.b.c"] or "")
    monkeypatch.setenv("TENANTCOLLECT_PLUGINS", "first-pkg")
    with connect(url) as hub:
        assert {row.name: row.error for row in hub.plugins()} == {"twice.thing": None}


def test_oversize_error_or_output(hub: Orchestrator) -> None:
    """Cut at 4000 characters and 32 frames."""
    told = after(hub, "huge")
    assert len(error_of(hub)) <= 4000
    assert error_of(hub).count("  in ") <= 32
    assert len(told) < 40_000


@pytest.mark.parametrize(
    "duration", [timedelta(0), -DAY, math.nan, "1 day", 3600, 367 * DAY, timedelta.max, timedelta.min]
)
def test_window_duration(url: str, duration: Any) -> None:
    """An error that names the collector and the bound; others go on."""

    class Wrong(Thing):
        @hookimpl
        def import_window_duration(self) -> Any:
            return duration

    with connect(url, collectors={"hub.thing": Thing(), "wrong.thing": Wrong()}) as hub:
        for data_source in ("hub", "wrong"):
            hub.configure("bad", data_source, {})
        assert hub.run().windows.completed == 1
        [row] = hub.explain("bad", "wrong")
        assert row.reason == "collector_broken"
        assert "wrong.thing" in row.detail
        assert "import_window_duration()" in row.detail
        assert "timedelta" in row.detail or "366 days" in row.detail


@pytest.mark.parametrize("interval", [-DAY, math.nan, "1 day", 367 * DAY])
def test_interval_of_a_tenant(hub: Orchestrator, interval: Any) -> None:
    """Refused like a duration, by its name, and nothing is stored."""
    with pytest.raises(ConfigurationError, match="interval"):
        hub.configure("bad", "hub", {}, interval=interval)
    assert [source.tenant_id for source in hub.configured()] == ["good"]


@pytest.mark.parametrize("end", [2 * DAY, 400_000 * DAY])
@BOTH
def test_coverage_in_the_future(url: str, hub: Orchestrator, end: timedelta) -> None:
    """That key refuses with a replay hint, which helps; others go on."""
    after(hub, "fine")
    now = datetime.now(UTC)
    edit(url, "coverage", f'[["{(now - DAY).isoformat()}", "{(now + end).isoformat()}"]]')
    assert_refuses_until_replayed(hub, "reaches into the future")


def test_coverage_a_small_step_of_the_clock_ahead(url: str, hub: Orchestrator) -> None:
    """A clock that was put back is no error."""
    after(hub, "fine")
    now = datetime.now(UTC)
    edit(url, "coverage", f'[["{(now - DAY).isoformat()}", "{(now + DAY / 2).isoformat()}"]]')
    assert explained(hub).reason in ("up_to_date", "not_due", "runnable")


@pytest.mark.parametrize("column", ["history_start"])
@BOTH
def test_coverage_with_infinity(url: str, hub: Orchestrator, column: str) -> None:
    """A time that no calendar holds costs its own key only."""
    after(hub, "fine")
    edit(url, column, "infinity")
    assert_refuses_until_replayed(hub, "history start")


@pytest.mark.parametrize("stored", ["", "[", "null", '[["2026-01-02", "2026-01-01"]]', '{"a": 1}', "[" * 100_000])
@BOTH
def test_coverage_edited_by_hand(url: str, hub: Orchestrator, stored: str) -> None:
    """That key refuses with a replay hint, which helps; others go on."""
    after(hub, "fine")
    edit(url, "coverage", stored)
    assert_refuses_until_replayed(hub, "coverage")


@pytest.mark.parametrize(
    ("env", "field"),
    [
        ({"WAY": 5}, "WAY"),
        ({"WAY": b"fine"}, "WAY"),
        ({"A=B": "x"}, "A=B"),
        ({"": "x"}, "''"),
        ({7: "x"}, "7"),
        ({"TOKEN": f"{SECRET}\0"}, "TOKEN"),
        ({"TOKEN": f"{SECRET}\ud800"}, "TOKEN"),
        ({"TOKEN": SECRET * 10_000}, "env"),
    ],
)
def test_env(hub: Orchestrator, env: Any, field: str) -> None:
    """ConfigurationError that names the key and never the value; nothing is stored."""
    with pytest.raises(ConfigurationError, match="env") as refused:
        hub.configure("bad", "hub", env)
    assert SECRET not in repr(refused.value)
    assert [name for name in refused.value.fields if name.strip("'") == field.strip("'")]
    assert [source.tenant_id for source in hub.configured()] == ["good"]


def test_env_never_enters_the_process_environment(hub: Orchestrator) -> None:
    """What one tenant's collector is given, no other can find."""
    after(hub, "environment")
    assert [row.status for row in hub.history("bad")] == ["COMPLETED"]


@pytest.mark.parametrize("word", ["false", "0", "no", "False", "off"])
def test_boolean_in_words(hub: Orchestrator, word: str) -> None:
    """False, though as a text it is true."""
    after(hub, "flag", FLAG=word)
    assert [row.status for row in hub.history("bad")] == ["COMPLETED"]


def test_boolean_that_is_none(hub: Orchestrator) -> None:
    """Refused by its key."""
    with pytest.raises(ConfigurationError) as refused:
        hub.configure("bad", "hub", {"FLAG": "perhaps"})
    assert set(refused.value.fields) == {"FLAG"}


def test_one_tenant_with_very_many_keys(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tenant with one key does not wait for the one with sixty."""
    monkeypatch.setenv("BAD_INPUT_DATABASE", url)
    with crowded() as hub:
        assert hub.run(max_windows=2).windows.completed == 2
        assert {row.tenant_id for row in hub.history()} == {"good", "bad"}


def test_endless_collector(hub: Orchestrator) -> None:
    """Its timeout ends it, with the reason; others go on."""
    after(hub, "endless")
    assert "WindowTimedOut" in error_of(hub)


def edit(url: str, column: str, value: str) -> None:
    """Write into the bad tenant's state, as a person would with a database shell."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    statement = f"UPDATE tenantcollect_data_source_run SET {column} = :value WHERE tenant_id = 'bad'"
    with engine.begin() as connection:
        connection.execute(text(statement), {"value": value})
    engine.dispose()


def assert_refuses_until_replayed(hub: Orchestrator, said: str) -> None:
    """The bad tenant's key refuses and says what helps; the good one's is well; and what is said helps."""
    row = explained(hub)
    assert (row.reason, row.action) == ("config_invalid", "collect it anew: tenantcollect replay bad hub thing")
    assert said in row.detail
    hub.trigger("good")
    assert hub.run().windows.completed == 1
    assert explained(hub, "good").reason == "not_due"
    hub.replay("bad")
    assert hub.run("bad").windows.completed == 1
    assert explained(hub).reason in ("up_to_date", "not_due")
