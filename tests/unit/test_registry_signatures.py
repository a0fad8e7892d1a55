"""Every wrong signature is refused when it is loaded, with package, place and cure."""

from pathlib import Path

import pytest

from tenantcollect import PluginError, hookimpl
from tenantcollect.registry import Registry
from tenantcollect.registry.signatures import HOOKS
from tests.unit.conftest import Packages

IMPORTS = "from tenantcollect import hookimpl\nimport functools, pluggy, pydantic\n"
RUN = "@hookimpl\ndef run(env): ...\n"


def reason_for(packages: Packages, source: str, name: str = "acme.x", **more: str) -> str:
    """Why the plugin ``source`` is refused; empty if it is not."""
    packages.install("acme-co", "1.2", collectors={name: "plugin_under_test"} | more)
    (packages.path / "plugin_under_test.py").write_text(IMPORTS + source)
    registry = Registry(allow=["acme-co"])
    problem = registry.problems(["acme"]).get(name)
    if problem is None:
        return ""
    assert problem.reason.startswith(f"{name} (acme-co 1.2): ")
    assert f"{packages.path / 'plugin_under_test.py'}" in problem.reason
    return problem.reason


@pytest.mark.parametrize(
    ("source", "cure"),
    [
        ("@hookimpl\ndef run(tenant): ...", "unknown parameter 'tenant'; did you mean 'tenant_id'? (allowed: env,"),
        ("@hookimpl\ndef run(tenantId): ...", "did you mean 'tenant_id'?"),
        ("@hookimpl\ndef run(zzz): ...", "unknown parameter 'zzz' (allowed: env, config, db, tenant_id, start_date"),
        ("@hookimpl\ndef run(env, *, db): ...", "parameter 'db' is keyword-only; remove the * before it"),
        ("@hookimpl\ndef run(env, *args): ...", "*args would stay empty; name the parameters you want"),
        ("@hookimpl\ndef run(**kwargs): ...", "**kwargs would stay empty; name the parameters you want"),
        ("@hookimpl\ndef run(env, db=None): ...", "parameter 'db' has a default"),
        (RUN + "@hookimpl\ndef provides(env): ...", "unknown parameter 'env' (allowed: none)"),
        (RUN + "@hookimpl\ndef depends(): ...", "there is no hook 'depends'; did you mean 'dependencies'?"),
        (RUN + "@hookimpl\ndef importWindowDuration(): ...", "did you mean 'import_window_duration'?"),
        (RUN + "@hookimpl\ndef zzz(): ...", "there is no hook 'zzz'; the hooks are provides, dependencies,"),
        (RUN + "@hookimpl(specname='run')\ndef go(env): ...", "both implement run(); keep one of them"),
        (RUN + "def provides(): ...", "provides() at "),
        (RUN + "def provides(): ...", "lacks @hookimpl; write `from tenantcollect import hookimpl`"),
        ("async def run(env): ...", "lacks @hookimpl"),
        ("@pluggy.HookimplMarker('pytest')\ndef run(env): ...", "is marked for pytest, not for tenantcollect"),
        (RUN + "provides = ['x']", "provides in "),
        (RUN + "provides = ['x']", "is a list; write a @hookimpl function provides() instead"),
        (RUN + "class config(pydantic.BaseModel): ...", "config in "),
        ("def collect(env): ...\nrun = functools.partial(collect)", "is a partial; write a @hookimpl function run()"),
        (RUN + "@hookimpl\nclass config: ...", "is a class; @hookimpl marks functions"),
        (RUN + "from sqlalchemy import MetaData\ntables = MetaData()", "is a MetaData; write a @hookimpl"),
        ("@hookimpl\ndef run(env):\n    yield 1", "is a generator, whose body would never run"),
        ("@hookimpl\nasync def run(env):\n    yield 1", "remove yield, write rows through db"),
        (RUN + "@hookimpl\ndef provides():\n    yield 'x'", "remove yield, return the value"),
        ("@hookimpl(wrapper=True)\ndef run(env):\n    return (yield)", "is a wrapper; pass it in extensions=[…]"),
        ("x = 1", "has no run(); write `@hookimpl def run(env, db, tenant_id, start_date, end_date)`"),
    ],
)
def test_a_wrong_plugin_is_told_the_place_and_the_cure(packages: Packages, source: str, cure: str) -> None:
    """A wrong hook name, argument name or missing run each get an error that says the cure."""
    assert cure in reason_for(packages, source)


def test_every_problem_is_told_at_once(packages: Packages) -> None:
    """The author does not have to try again for each mistake."""
    reason = reason_for(packages, "@hookimpl\ndef run(tenant, *, db): ...\n@hookimpl\ndef provide(): ...")
    assert "'tenant'" in reason
    assert "keyword-only" in reason
    assert "did you mean 'provides'" in reason


@pytest.mark.parametrize(
    "source",
    [
        RUN + "from subprocess import check_call as check\n",
        RUN + "import pydantic as config\ntables = None\noptions = {'a': 1}\n",
        "from subprocess import run\n@hookimpl(specname='run')\ndef collect(env): ...\n",
        RUN + "@hookimpl(optionalhook=True)\ndef a_hook_of_the_future(): ...\n",
        RUN + "@pluggy.HookimplMarker('pytest')\ndef pytest_configure(config): ...\n",
        "@hookimpl\nasync def run(env, context): ...\n",
        "def noted(f):\n    return functools.wraps(f)(lambda *a, **k: f(*a, **k))\n"
        "@hookimpl\n@noted\ndef run(env, db): ...\n",
    ],
)
def test_what_only_looks_like_a_mistake_is_left_alone(packages: Packages, source: str) -> None:
    """Imports, submodules and other projects' hooks are no hooks of ours."""
    assert reason_for(packages, source) == ""


@pytest.mark.parametrize("hook", ["run", "provides", "dependencies", "import_window_duration"])
def test_a_script_hook_on_a_data_source_is_told_where_it_belongs(packages: Packages, hook: str) -> None:
    """What belongs to one script cannot stand on the data source."""
    reason = reason_for(packages, f"@hookimpl\ndef {hook}(): ...", name="acme")
    assert f"{hook}() at " in reason
    assert 'name that "acme.<script>" in the entry points' in reason


@pytest.mark.parametrize("hook", ["config", "check", "tables", "erase"])
def test_a_shared_hook_on_one_of_several_scripts_is_told_where_it_belongs(packages: Packages, hook: str) -> None:
    """Two scripts could not both say what they share."""
    source = RUN + f"@hookimpl\ndef {hook}(): ..."
    reason = reason_for(packages, source, **{"acme.y": "elsewhere"})
    assert f"{hook}() at " in reason
    assert 'move it to the module that the entry point "acme" names' in reason


def test_a_shared_hook_that_stands_twice_is_refused(packages: Packages) -> None:
    """Neither the data source's nor its only script's is silently preferred."""
    (packages.path / "acme_source.py").write_text(IMPORTS + "@hookimpl\ndef check(): ...")
    reason = reason_for(packages, RUN + "@hookimpl\ndef check(): ...", acme="acme_source")
    assert "is already there in the data source's own plugin; remove one of both" in reason


def test_methods_without_self_are_told_so() -> None:
    """Their first argument would be the object."""

    class Selfless:
        @hookimpl
        def run(env, db): ...  # noqa: N805 - the mistake

        @hookimpl
        def provides(): ...  # type: ignore[misc]

    registry = Registry({"a.x": Selfless}, entry_points=lambda group: ())
    reason = registry.problems(["a"])["a.x"].reason
    assert reason.count("is a method without self") == 2
    assert str(Path(__file__)) in reason


@pytest.mark.parametrize("above", [True, False])
def test_static_and_class_methods_are_hooks(above: bool) -> None:
    """The mark may stand above or below the decorator."""

    class Odd:
        if above:
            run = hookimpl(staticmethod(lambda tenant_id: 3))
            provides = hookimpl(classmethod(lambda cls: [cls.__name__.lower()]))
        else:
            run = staticmethod(hookimpl(lambda tenant_id: 3))
            provides = classmethod(hookimpl(lambda cls: [cls.__name__.lower()]))

    collector = Registry({"a.x": Odd}, entry_points=lambda group: ()).collector("a.x")
    assert collector.provides == ("odd",)
    assert collector.arguments == {"tenant_id"}


def test_a_subclass_that_overrides_a_hook_must_mark_it_again() -> None:
    """Pluggy would ignore the override, and with it the hook."""

    class Base:
        @hookimpl
        def run(self) -> int:
            return 1

    class Override(Base):
        def run(self) -> int:
            return 2

    registry = Registry({"a.x": Override, "b.x": type("Inherits", (Base,), {})}, entry_points=lambda group: ())
    assert "lacks @hookimpl" in registry.problems(["a"])["a.x"].reason
    assert registry.problems(["b"]) == {}


def test_no_property_of_a_plugin_is_evaluated() -> None:
    """Looking for hooks runs none of the plugin's code."""

    class Lazy:
        @hookimpl
        def run(self) -> None: ...

        @property
        def config(self) -> None:
            raise AssertionError("evaluated")

        @property
        def other(self) -> None:
            raise AssertionError("evaluated")

    assert Registry({"a.x": Lazy}, entry_points=lambda group: ()).problems(["a"]) == {}


def test_hooks_are_those_of_the_page() -> None:
    """The table of allowed parameters is made from hookspecs, so that the two cannot differ."""
    assert HOOKS["run"] == ("env", "config", "db", "tenant_id", "start_date", "end_date", "context")
    assert HOOKS.keys() == {
        "provides",
        "dependencies",
        "import_window_duration",
        "options",
        "run",
        "config",
        "check",
        "tables",
        "erase",
    }


class Answering:
    @hookimpl
    def run(self) -> None: ...


class Typo:
    @hookimpl(wrapper=True)
    def rum(self) -> object:
        return (yield)


class Unyielding:
    @hookimpl(wrapper=True)
    def run(self) -> None: ...


class Unmarked:
    def run(self) -> object:
        return (yield)


@pytest.mark.parametrize(
    ("extension", "cure"),
    [
        (Answering, "would answer in place of every collector; an extension wraps: @hookimpl(wrapper=True)"),
        (Typo, "there is no hook 'rum'; did you mean 'run'?"),
        (Unyielding, "is a wrapper without yield; write `result = yield` and return the result"),
        (Unmarked, "lacks @hookimpl"),
        ("a.module", "must be a module, an object or a class with hooks, not a str"),
    ],
)
def test_an_extension_given_in_code_is_checked_at_once(extension: object, cure: str) -> None:
    """A wrapper that would never be called is an error where the host wrote it."""
    with pytest.raises(PluginError) as refused:
        Registry({}, [extension], entry_points=lambda group: ())
    assert cure in str(refused.value)
