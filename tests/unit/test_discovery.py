"""Which of what is installed may be used, and what is told of names that are not there."""

import pytest

from tenantcollect import ConfigurationError, PluginError
from tenantcollect.registry import Registry, installed_executor
from tests.unit.conftest import Packages


def test_the_allow_list_of_the_environment(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Distributions, data sources and collectors can be named; a script brings its data source's plugin."""
    packages.install("acme-one", collectors={"a": "m", "a.x": "m", "a.y": "m"})
    packages.install("acme-two", collectors={"b.x": "m"})
    for allowed, names in {
        "acme_one": ["a.x", "a.y"],
        " a.x , b ": ["a.x", "b.x"],
        "Acme.Two": ["b.x"],
    }.items():
        monkeypatch.setenv("TENANTCOLLECT_PLUGINS", allowed)
        assert Registry().names() == names
    assert Registry(allow=["a.x"])._found.collectors.keys() == {"a", "a.x"}
    with pytest.raises(PluginError, match="TENANTCOLLECT_PLUGINS does not allow it"):
        Registry(allow=["acme-two"]).collector("a.x")


def test_a_misspelt_allow_list_is_a_problem(packages: Packages) -> None:
    """It would otherwise silently allow nothing."""
    packages.install("acme-one", collectors={"a.x": "m"})
    registry = Registry(allow=["acme-won"])
    assert registry.names() == []
    [problem] = registry.problems().values()
    assert "'acme-won', which is not installed; did you mean 'acme-one'?" in problem.reason


def test_an_allow_list_that_is_near_to_nothing_is_told_what_there_is(packages: Packages) -> None:
    """Who remembers no name at all is told them."""
    packages.install("acme-one", collectors={"a.x": "m"})
    [problem] = Registry(allow=["zzz"]).problems().values()
    assert "'zzz', which is not installed; there is: a, a.x, acme-one, git" in problem.reason


@pytest.mark.parametrize("value", ["acme x", "acme-x", "acme:", "acme:run()"])
def test_an_entry_point_that_names_nothing_is_told_what_to_write(packages: Packages, value: str) -> None:
    """The standard library says that None has no attribute."""
    packages.install("acme", collectors={"a.x": value})
    reason = Registry(allow=["acme"]).problems(["a"])["a.x"].reason
    assert f"the entry point is {value!r}; write a module, or module:attribute" in reason


def test_an_executor_that_is_not_installed_is_told_which_are(packages: Packages) -> None:
    """Also where the entry points of another distribution cannot be read."""
    packages.install("damaged")
    damaged = packages.path / "damaged-1.0.dist-info" / "entry_points.txt"
    damaged.write_text("[tenantcollect.collectors]\nno equals sign\n")
    with pytest.raises(ConfigurationError, match="no executor 'zzz' is installed; there is: processes, threads"):
        installed_executor("zzz")
