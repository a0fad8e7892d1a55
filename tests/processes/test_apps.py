"""How a child builds the orchestrator of its parent, and what is said where it cannot (PROTOCOL 6)."""

import pickle
from functools import partial
from pathlib import Path

import pytest

from tenantcollect import ConfigurationError
from tenantcollect.compose import Recipe
from tenantcollect.contrib.crypto import FernetCipher
from tenantcollect.contrib.processes import Processes
from tests.processes import apps


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("tests.processes.nowhere:build", "cannot be imported: ModuleNotFoundError"),
        ("tests.processes.apps:raises", "ConnectionError: the vault is sealed"),
        ("tests.processes.apps:exits", "exit code 0"),
        ("tests.processes.apps:elsewhere", "on another database: acme/plain/item was not claimed there"),
        ("tests.processes.apps:empty", "tables"),
    ],
)
def test_an_app_that_no_child_can_use_ends_the_pass_and_charges_no_tenant(
    executor: Processes, sqlite_url: str, app: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the app and what is wrong; every key is as it was, for the next pass."""
    monkeypatch.chdir(tmp_path)
    with apps.parent(sqlite_url, executor, app) as orchestrator:
        orchestrator.upgrade()
        for tenant in ("acme", "globex", "initech"):
            orchestrator.configure(tenant, "plain", {})
        report = orchestrator.run()
        assert report.error.startswith("No window can run: ")
        assert words in report.error
        assert app in report.error or app.endswith(":exits")
        assert report.windows.failed == 0
        assert {(row.status, row.failures) for row in orchestrator.status()} == {("PENDING", 0)}
        assert list(orchestrator.history()) == []


@pytest.mark.parametrize("app", ["sync", "sync:", ":build", "", 7])
def test_an_app_that_names_no_attribute_is_refused_where_it_is_given(sqlite_url: str, app: str) -> None:
    """Not by each child, for each tenant."""
    with pytest.raises(ConfigurationError, match="not of the form module:attribute"):
        apps.parent(sqlite_url, Processes(), app)


def test_recipes_are_the_same_if_all_that_travels_is(sqlite_url: str) -> None:
    """Also one whose cipher is made by an object, which arrives as a new one with every window."""
    recipe = Recipe(url=sqlite_url, cipher=apps.OLD)
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert hash(pickle.loads(pickle.dumps(recipe))) == hash(recipe)
    assert Recipe(url=sqlite_url, cipher=apps.NEW) != recipe
    assert Recipe(url=sqlite_url) != recipe


def test_g6_what_travels_to_a_child_shows_no_key_and_no_password() -> None:
    """Its repr may stand in a log of the executor's."""
    recipe = Recipe(url="postgresql://u:hunter2@db/x", cipher=partial(FernetCipher, ["k" * 43]))
    assert not any(secret in repr(recipe) for secret in ("hunter2", "kkkk"))
