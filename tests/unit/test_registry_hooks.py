"""Calling hooks: argument subsets, defaults, async, the host's wrappers; and what hooks may return."""

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr
from sqlalchemy import MetaData

from tenantcollect import CollectorOptions, PluginError, hookimpl
from tenantcollect.registry import Registry
from tests.unit.conftest import Packages

GIVEN: dict[str, Any] = {
    "env": {"A": "1"},
    "config": "the config",
    "db": "the session",
    "tenant_id": "acme",
    "start_date": "the start",
    "end_date": "the end",
    "context": "the context",
}


def only(collectors: dict[str, object], *extensions: object) -> Registry:
    """A registry that sees nothing installed."""
    return Registry(collectors, extensions, entry_points=lambda group: ())


def script(**hooks: Any) -> object:
    """A plugin object with these hooks."""
    functions = {"run": lambda: None} | hooks
    return type("Script", (), {name: staticmethod(hookimpl(function)) for name, function in functions.items()})()


def test_a_hook_names_only_what_it_wants_in_any_order() -> None:
    """Arguments are passed by name."""
    collector = only({"a.x": script(run=lambda end_date, env: [end_date, env])}).collector("a.x")
    assert collector.run(**GIVEN) == ["the end", {"A": "1"}]
    assert collector.arguments == {"env", "end_date"}


def test_what_a_collector_does_not_say_has_the_defaults_of_the_adr() -> None:
    """provides = its script, no dependencies, 24 hours, 90 days."""
    collector = only({"a.x": script()}).collector("a.x")
    assert (collector.provides, collector.dependencies) == (("x",), ())
    assert collector.duration == timedelta(hours=24)
    assert collector.options == CollectorOptions()


def test_options_of_the_data_source_are_the_default_of_its_scripts() -> None:
    """A script that has its own keeps them."""

    class Source:
        @hookimpl
        def options(self) -> CollectorOptions:
            return CollectorOptions(interval=timedelta(hours=1))

    own = CollectorOptions(interval=timedelta(hours=2))
    registry = only({"a": Source, "a.x": script(), "a.y": script(options=lambda: own)})
    assert registry.collector("a.x").options.interval == timedelta(hours=1)
    assert registry.collector("a.y").options == own


def test_shared_hooks_may_stand_on_the_only_script() -> None:
    """A small plugin is one module."""
    tables = MetaData()
    plugin = script(
        config=lambda: Settings, tables=lambda: tables, check=lambda env: f"found {env}", erase=lambda db: db
    )
    source = only({"a.x": plugin}).source("a")
    assert source.config_model is Settings
    assert source.tables is tables
    assert source.check is not None
    assert source.check(env={"A": "1"}, config=None, tenant_id="acme") == "found {'A': '1'}"
    assert source.erase is not None
    assert source.erase(db="the session", tenant_id="acme") == "the session"


class Settings(BaseModel):
    TOKEN: SecretStr


async def _slow(value: object) -> object:
    await asyncio.sleep(0)
    return value


def test_an_async_run_is_awaited() -> None:
    """The core is synchronous; the collector need not be."""

    async def run(tenant_id: str, start_date: object) -> object:
        return await _slow([tenant_id, start_date])

    collector = only({"a.x": script(run=run)}).collector("a.x")
    assert collector.run(**GIVEN) == ["acme", "the start"]
    assert collector.arguments == {"tenant_id", "start_date"}


def test_an_awaitable_of_a_decorated_function_is_awaited_too() -> None:
    """What matters is what is returned, not how the function was written."""
    collector = only({"a.x": script(run=lambda: _slow(7))}).collector("a.x")
    assert collector.run(**GIVEN) == 7


def test_a_caller_inside_an_event_loop_gets_the_result_from_a_thread_of_its_own() -> None:
    """A notebook or an async host can call the synchronous core; context variables go along."""
    variable = contextvars.ContextVar("variable", default="unset")

    async def run() -> object:
        return [variable.get(), threading.current_thread() is threading.main_thread()]

    async def host() -> object:
        variable.set("set")
        return only({"a.x": script(run=run)}).collector("a.x").run(**GIVEN)

    assert asyncio.run(host()) == ["set", False]


def test_the_event_loop_of_the_host_stays_as_it_was() -> None:
    """G10: an event loop that the thread has, running or not, is the host's."""

    async def run() -> int:
        return 1

    def in_thread() -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        only({"a.x": script(run=run)}).collector("a.x").run(**GIVEN)
        same.append(asyncio.get_event_loop() is loop)
        loop.close()

    same: list[bool] = []
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert same == [True]


def test_an_error_of_an_async_run_comes_through_as_it_is() -> None:
    """The failure policy decides by class."""

    async def run() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        only({"a.x": script(run=run)}).collector("a.x").run(**GIVEN)


def test_a_generator_that_could_not_be_seen_at_load_is_refused_at_the_call() -> None:
    """Its body would never have run, and the window would have been sealed empty."""

    def rows() -> Iterator[int]:
        yield 1

    def run() -> Iterator[int]:
        return rows()

    with pytest.raises(PluginError, match="returned a generator"):
        only({"a.x": script(run=run)}).collector("a.x").run(**GIVEN)


class Recorder:
    """Wraps ``run`` and remembers what it saw."""

    def __init__(self, name: str, seen: list[object]) -> None:
        self.name, self.seen = name, seen

    __hash__ = None  # type: ignore[assignment] - a plugin object may be unhashable

    def __eq__(self, other: object) -> bool:
        return True

    @hookimpl(wrapper=True)
    def run(self, tenant_id: str, db: object) -> Iterator[None]:
        self.seen.append((self.name, tenant_id))
        result = yield
        self.seen.append((self.name, result))
        return [self.name, result]


def test_wrappers_stand_around_one_collector_and_see_its_result() -> None:
    """Exactly this collector's implementation is called, inside every wrapper, the last one outermost."""

    async def run(env: object) -> int:
        return 3

    seen: list[object] = []
    others = {"a.other": script(run=lambda: seen.append("other")), "b.other": script()}
    registry = only({"a.x": script(run=run), **others}, Recorder("inner", seen), Recorder("outer", seen))
    registry.load(["a", "b"])
    collector = registry.collector("a.x")
    assert collector.run(**GIVEN) == ["outer", ["inner", 3]]
    assert seen == [("outer", "acme"), ("inner", "acme"), ("inner", 3), ("outer", ["inner", 3])]
    assert collector.arguments == {"env", "tenant_id", "db"}


def test_wrappers_may_change_what_any_hook_answers_also_where_the_default_does() -> None:
    """A host can cap the windows of every collector; what it returns is checked like the collector's own."""

    class Cap:
        limit: object = timedelta(hours=6)

        @hookimpl(wrapper=True)
        def import_window_duration(self) -> Iterator[None]:
            duration: Any = yield
            assert duration == timedelta(hours=24)
            return self.limit

    assert only({"a.x": script()}, Cap).collector("a.x").duration == timedelta(hours=6)
    wrong = Cap()
    wrong.limit = "6h"
    assert "must be a datetime.timedelta, not str" in only({"a.x": script()}, wrong).problems(["a"])["a.x"].reason


def test_wrappers_of_shared_hooks_are_called_too() -> None:
    """check and erase go the same way as run."""
    seen: list[object] = []

    class Audit:
        @hookimpl(wrapper=True)
        def erase(self, tenant_id: str) -> Iterator[None]:
            seen.append(tenant_id)
            return (yield)

    source = only({"a.x": script(erase=lambda: None)}, Audit).source("a")
    assert source.erase is not None
    source.erase(db=None, tenant_id="acme")
    assert seen == ["acme"]


def test_static_wrappers_and_ordered_wrappers_work() -> None:
    """Pluggy's own options hold for extensions."""
    seen: list[str] = []

    class Static:
        @hookimpl(wrapper=True, trylast=True)
        @staticmethod
        def run() -> Iterator[None]:
            seen.append("last")
            return (yield)

        @hookimpl(wrapper=True, tryfirst=True, specname="run")
        def also(self) -> Iterator[None]:
            seen.append("first")
            return (yield)

    only({"a.x": script()}, Static()).collector("a.x").run(**GIVEN)
    assert seen == ["first", "last"]


def test_installed_extensions_wrap_and_a_broken_one_is_listed(packages: Packages) -> None:
    """A telemetry package that cannot be imported does not stop the collecting."""
    wrapper = """
        from tenantcollect import hookimpl

        @hookimpl(wrapper=True)
        def run():
            return ["wrapped", (yield)]
    """
    packages.install("sound-ext", extensions={"sound": "sound_ext"}, modules={"sound_ext": wrapper})
    packages.install("broken-ext", "3.0", extensions={"broken": "broken_ext"}, modules={"broken_ext": "1 / 0"})
    registry = Registry({"a.x": script(run=lambda: 1)}, allow=["sound-ext", "broken-ext"])
    assert registry.collector("a.x").run(**GIVEN) == ["wrapped", 1]
    problem = registry.problems()["extension:broken"]
    assert problem.package == "broken-ext"
    assert "ZeroDivisionError" in problem.reason
    assert registry.problems(["a"]) == {}


@pytest.mark.parametrize(
    ("hook", "value", "reason"),
    [
        ("provides", "x", "provides() must return a list of names, not str"),
        ("provides", None, "provides() must return a list of names, not NoneType"),
        ("provides", {"x"}, "not set"),
        ("provides", ["X"], "'X' is not a valid name"),
        ("provides", [3], "3 is not a valid name"),
        ("provides", ["other:x"], "must return bare names; write 'x', not 'other:x'"),
        ("dependencies", ["Other:x"], "the data source in dependencies() 'Other' is not a valid name"),
        ("dependencies", ["a:b:c"], "is not a valid name"),
        ("dependencies", [""], "is not a valid name"),
        ("dependencies", [":x"], "is not a valid name"),
        ("import_window_duration", timedelta(), "must be between"),
        ("import_window_duration", timedelta(hours=-1), "must be between"),
        ("import_window_duration", timedelta(days=367), "must be between 0:00:00.000001 and 366 days"),
        ("import_window_duration", float("nan"), "must be a datetime.timedelta, not float"),
        ("import_window_duration", "P1D", "must be a datetime.timedelta, not str"),
        ("import_window_duration", 86400, "must be a datetime.timedelta, not int"),
        ("options", {"lookback": 3}, "options() must return a CollectorOptions, not dict"),
        ("options", None, "not NoneType"),
        ("config", Settings(TOKEN="x"), "config() must return a pydantic model class, not Settings"),
        ("config", dict, "not the class dict"),
        ("config", None, "not NoneType"),
        ("config", type("BaseSettings", (BaseModel,), {}), "would read the process's environment"),
        ("tables", [], "tables() must return a sqlalchemy.MetaData, not list"),
    ],
)
def test_a_wrong_answer_breaks_the_collector_with_its_name(hook: str, value: object, reason: str) -> None:
    """Every bad return names the collector, the hook and what it must return."""
    problem = only({"a.x": script(**{hook: lambda: value})}).problems(["a"])["a.x"]
    assert problem.reason.startswith("a.x (given in code): ")
    assert reason in problem.reason


def test_good_answers_are_taken() -> None:
    """Tuples and lists, explicit sources, None for one window per unbroken piece."""
    plugin = script(
        provides=lambda: ("x", "y", "x"),
        dependencies=lambda: ["team", "other:repository"],
        import_window_duration=lambda: None,
    )
    collector = only({"a.x": plugin}).collector("a.x")
    assert collector.provides == ("x", "y")
    assert collector.dependencies == ("team", "other:repository")
    assert collector.duration is None


def test_a_model_without_a_json_schema_is_refused_at_load() -> None:
    """A host finds out when it installs the plugin, not when it renders the form."""

    class Odd(BaseModel, arbitrary_types_allowed=True):
        lock: threading.Event

    reason = only({"a.x": script(config=lambda: Odd)}).problems(["a"])["a.x"].reason
    assert "config() returned a model without a JSON Schema" in reason


def test_a_hook_that_raises_at_load_is_told_with_its_line() -> None:
    """The reason is one line, even if the error's text is many."""

    def provides() -> list[str]:
        raise ValueError("first line\nsecond \x1b[31mline")

    reason = only({"a.x": script(provides=provides)}).problems(["a"])["a.x"].reason
    assert f"provides() failed: ValueError: first line\\nsecond \\x1b[31mline at {__file__}:" in reason


def test_the_config_of_a_data_source_is_validated_through_the_registry() -> None:
    """The registry is the one door to what a data source declares."""
    registry = only({"a.x": script(config=lambda: Settings), "b.x": script()})
    assert registry.validate("a", {"TOKEN": "t"}) == Settings(TOKEN=SecretStr("t"))
    assert registry.secret_keys("a", ["TOKEN"]) == {"TOKEN"}
    assert registry.config_schema("a")["required"] == ["TOKEN"]
    assert registry.config_model("b") is None
    assert registry.validate("b", {"ANY": "thing"}) is None
    assert registry.secret_keys("b", ["ANY"]) == {"ANY"}
