"""Discovery and loading, with distributions that are really installed."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest

from tenantcollect import PluginError, hookimpl
from tenantcollect.registry import Registry
from tests.unit.conftest import Packages

RUN = """
from tenantcollect import hookimpl

@hookimpl
def run(): ...
"""


def call(registry: Registry, name: str, **arguments: Any) -> object:
    """Run a collector with nothing but ``arguments``."""
    given = dict.fromkeys(["env", "config", "db", "tenant_id", "start_date", "end_date", "context"])
    return registry.collector(name).run(**given | arguments)


def only(collectors: dict[str, object], extensions: tuple[object, ...] = ()) -> Registry:
    """A registry that sees nothing installed."""
    return Registry(collectors, extensions, entry_points=lambda group: ())


class Plain:
    @hookimpl
    def run(self) -> int:
        return 3


def test_entry_points_are_found_without_importing_and_imported_per_data_source(packages: Packages) -> None:
    """A pass pays only for the data sources its tenants have configured."""
    packages.install(
        "acme",
        collectors={"acme.team": "acme_team", "other.team": "acme_other"},
        modules={"acme_team": RUN, "acme_other": "raise AssertionError('imported')"},
    )
    registry = Registry(allow=["acme"])
    assert registry.names() == ["acme.team", "other.team"]
    assert registry.data_sources() == ["acme", "other"]
    assert registry.problems() == {}
    assert "acme_team" not in sys.modules
    [collector] = registry.collectors(["acme"])
    assert (collector.name, collector.package, collector.version) == ("acme.team", "acme", "1.0")
    assert (collector.provides, collector.dependencies, collector.duration) == (
        ("team",),
        (),
        timedelta(hours=24),
    )
    assert "acme_other" not in sys.modules


def test_the_bundled_collectors_are_found_like_any_other() -> None:
    """There is no private door for our own plugins."""
    code = "from tenantcollect.registry import Registry; print(*Registry().names())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    installed = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlib.metadata import entry_points as e;"
            "print(*sorted(p.name for p in e(group='tenantcollect.collectors') if '.' in p.name))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == installed.stdout


def test_scanning_imports_no_database_library() -> None:
    """What a host imports to look at its plugins stays light."""
    code = (
        "import sys, tenantcollect.registry as r; r.Registry().names();"
        "assert not {'sqlalchemy', 'typer', 'rich', 'alembic'} & sys.modules.keys(), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import does_not_exist", "broken cannot be imported: ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("class Odd(BaseException): ...\nraise Odd", "Odd at "),
        (
            "import tenantcollect as t\n"
            "class Mute(t.PluginError):\n  def __str__(self): raise SystemExit(0)\n"
            "raise Mute",
            "Mute: (its message cannot be written) at ",
        ),
        ("def run(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero at "),
    ],
)
def test_what_fails_at_import_fails_alone(packages: Packages, source: str, reason: str) -> None:
    """One broken package is listed with its reason, all others go on (G4)."""
    packages.install("broken-co", "2.1", collectors={"bad.one": "broken"}, modules={"broken": source})
    packages.install("sound-co", collectors={"good.one": "sound"}, modules={"sound": RUN})
    registry = Registry(allow=["broken-co", "sound-co"])
    registry.load(["bad", "good"])
    problem = registry.problems()["bad.one"]
    assert (problem.package, problem.version) == ("broken-co", "2.1")
    assert problem.reason.startswith("bad.one (broken-co 2.1): ")
    assert reason in problem.reason
    assert [c.name for c in registry.collectors(["bad", "good"])] == ["good.one"]
    with pytest.raises(PluginError) as refused:
        registry.collector("bad.one")
    assert str(refused.value) == problem.reason


def test_the_place_of_an_import_error_is_the_line_of_the_plugin(packages: Packages) -> None:
    """The author is sent to the line that failed, not into importlib."""
    packages.install("acme", collectors={"acme.x": "place_of"}, modules={"place_of": "\n\nint('x')\n"})
    reason = Registry(allow=["acme"]).problems(["acme"])["acme.x"].reason
    assert f"{packages.path / 'place_of.py'}:3" in reason


def test_a_keyboard_interrupt_is_the_users_own(packages: Packages) -> None:
    """Ctrl-C while plugins load ends the program instead of marking a plugin as broken."""
    packages.install("acme", collectors={"acme.x": "interrupted"}, modules={"interrupted": "raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        Registry(allow=["acme"]).load(["acme"])


def test_a_name_used_by_two_packages_is_listed_with_both(packages: Packages) -> None:
    """Which of the two was meant is not guessed."""
    packages.install("first-co", "1.0", collectors={"x.y": "first"}, modules={"first": RUN})
    packages.install("second-co", "2.0", collectors={"x.y": "second"}, modules={"second": RUN})
    registry = Registry(allow=["first-co", "second-co"])
    assert registry.names() == ["x.y"]
    reason = registry.problems()["x.y"].reason
    assert "first-co 1.0 (first) and second-co 2.0 (second)" in reason
    assert registry.collectors(["x"]) == []
    assert [c.package for c in Registry(allow=["second_co"]).collectors(["x"])] == ["second-co"]
    assert [c.package for c in Registry({"x.y": Plain}).collectors(["x"])] == [None]


@pytest.mark.parametrize("name", ["Github.commit", "github.commit.more", "github.", "gït.hub", "1git"])
def test_a_bad_name_is_listed_and_belongs_to_no_data_source(packages: Packages, name: str) -> None:
    """A name that cannot be a key is refused where it is found."""
    packages.install("acme", collectors={name: "acme"})
    registry = Registry(allow=["acme"])
    assert registry.names() == []
    assert "is not a valid name" in registry.problems()[name].reason
    assert registry.problems([name.partition(".")[0]]) == {}


def test_unreadable_metadata_of_one_distribution_hides_no_other(packages: Packages) -> None:
    """The standard library raises for all when one file is damaged."""
    packages.install("sound", collectors={"x.y": "sound_one"}, modules={"sound_one": RUN})
    damaged = packages.path / "damaged-1.0.dist-info"
    damaged.mkdir()
    (damaged / "METADATA").write_text("Name: damaged\nVersion: 1.0\n")
    (damaged / "entry_points.txt").write_text("[tenantcollect.collectors]\nno equals sign\n")
    registry = Registry()
    assert "x.y" in registry.names()
    [problem] = registry.problems().values()
    assert str(damaged) in problem.reason


def test_modules_objects_and_classes_can_be_given_in_code() -> None:
    """A host's own collectors need no package."""
    module = ModuleType("given")
    exec(RUN, vars(module))
    registry = only({"a.module": module, "a.object": Plain(), "a.class": Plain})
    assert [c.name for c in registry.collectors(["a"])] == ["a.class", "a.module", "a.object"]
    assert registry.problems() == {}
    assert call(registry, "a.class") == 3


@pytest.mark.parametrize("thing", ["acme.module", None, 3, Plain().run, ["x"]])
def test_what_is_no_plugin_is_said_to_be_none(thing: object) -> None:
    """Names of modules are not imported: objects, never strings."""
    registry = only({"a.x": thing})
    assert "must be a module, an object or a class with hooks" in registry.problems(["a"])["a.x"].reason


def test_a_class_that_cannot_be_constructed_is_broken() -> None:
    """A plugin class is called once, without arguments."""

    class Needy:
        def __init__(self, token: str) -> None: ...

    reason = only({"a.x": Needy}).problems(["a"])["a.x"].reason
    assert f"the class Needy at {__file__}:" in reason
    assert "missing 1 required positional argument: 'token'" in reason


def test_unknown_names_are_answered_with_a_near_one() -> None:
    """A misspelt collector or data source is named with the one that was meant."""
    registry = only({"github.commit": Plain})
    with pytest.raises(PluginError, match=r"no collector 'github.comit' is installed; did you mean 'github.commit'\?"):
        registry.collector("github.comit")
    with pytest.raises(PluginError, match=r"no data source 'githob' is installed; did you mean 'github'\?"):
        registry.source("githob")
    assert registry.collectors(["githob"]) == []


def test_a_broken_data_source_breaks_its_scripts_with_its_reason() -> None:
    """Scripts do not run without what they share."""

    class Source:
        @hookimpl
        def config(self) -> str:
            return "no model"

    registry = only({"a": Source, "a.x": Plain, "a.y": Plain, "b.x": Plain})
    problems = registry.problems(["a", "b"])
    assert problems.keys() == {"a", "a.x", "a.y"}
    [reason] = {p.reason for p in problems.values()}
    assert reason.startswith("a (given in code): config() must return a pydantic model class, not str; it is at ")
    assert "test_registry.py:" in reason
    assert not registry.sound("a")
    assert registry.sound("b")
    with pytest.raises(PluginError, match="pydantic model class"):
        registry.require("a")


def test_a_plugin_without_a_file_is_placed_by_its_name() -> None:
    """What a host makes while it runs has no line to point at."""
    registry = only({"a.x": ModuleType("made_up"), "b.x": type("Made", (), {})})
    assert "the module in made_up has no run()" in registry.problems(["a"])["a.x"].reason
    assert "the object Made in tests.unit.test_registry.Made has no run()" in registry.problems(["b"])["b.x"].reason


def test_scripts_that_all_fail_leave_their_data_source_known() -> None:
    """Several broken scripts take nothing from what they share."""
    registry = only({"a.x": object(), "a.y": object()})
    assert registry.source("a").name == "a"
    assert registry.problems(["a"]).keys() == {"a.x", "a.y"}


def test_the_graph_knows_broken_collectors_by_their_script() -> None:
    """A dependent of a broken collector waits for it; it is not told that nothing provides the resource."""

    class Dependent(Plain):
        @hookimpl
        def dependencies(self) -> list[str]:
            return ["x"]

    graph = only({"a.x": object(), "a.y": Dependent}).graph(["a"])
    assert graph.problems == {}
    assert graph.upstreams["a.y"] == ("a.x",)


def test_rows_list_everything_once(packages: Packages) -> None:
    """``plugins`` shows what works, and each failure with why."""
    packages.install("acme", "1.0", collectors={"a.x": "listed", "a.y": "missing_module"}, modules={"listed": RUN})
    rows = {row.name: row for row in Registry(allow=["acme"]).rows()}
    assert rows.keys() == {"a.x", "a.y"}
    assert (rows["a.x"].provides, rows["a.x"].import_window_duration) == (("x",), 86400.0)
    assert rows["a.y"].error is not None
    assert "missing_module" in rows["a.y"].error


def test_threads_that_load_at_once_import_once(packages: Packages) -> None:
    """Sixteen threads get the same collector of a plugin that was imported once."""
    source = f"import time\ntime.sleep(0.05)\n{RUN}\nimport builtins\nbuiltins.imports_of_slow += 1\n"
    packages.install("acme", collectors={"a.x": "slow_plugin"}, modules={"slow_plugin": source})
    import builtins

    vars(builtins)["imports_of_slow"] = 0
    registry, got = Registry(allow=["acme"]), []
    threads = [threading.Thread(target=lambda: got.append(registry.collector("a.x"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(collector) for collector in got}) == 1
    assert vars(builtins).pop("imports_of_slow") == 1


def test_calls_go_on_undisturbed_while_other_data_sources_load() -> None:
    """G4: a call reaches its own collector and each wrapper exactly once, whatever else is being registered."""
    calls: list[str] = []

    class Counted:
        @hookimpl(wrapper=True)
        def run(self, tenant_id: str) -> Iterator[None]:
            calls.append(tenant_id)
            return (yield)

    registry = only({f"s{n}.x": Plain for n in range(200)}, (Counted(),))
    run = registry.collector("s0.x").run
    given: dict[str, Any] = dict.fromkeys(["env", "config", "db", "start_date", "end_date", "context"])
    loader = threading.Thread(target=lambda: [registry.load([f"s{n}"]) for n in range(200)])
    loader.start()
    count = 0
    while loader.is_alive():
        assert run(tenant_id="acme", **given) == 3
        count += 1
    loader.join()
    assert len(calls) == count > 0


def test_two_registries_share_nothing() -> None:
    """No global: an extension of one host is not called for another."""
    seen: list[str] = []

    class Spy:
        @hookimpl(wrapper=True)
        def run(self) -> Iterator[None]:
            seen.append("called")
            return (yield)

    only({"a.x": Plain}, (Spy(),))
    call(only({"a.x": Plain}), "a.x")
    assert seen == []
