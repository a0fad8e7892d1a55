from pathlib import Path

import pytest

from tests.cli.conftest import Command, Ended


def reasons(tenantcollect: Command) -> set[str]:
    """Why each key of acme does or does not run."""
    return {row["reason"] for row in tenantcollect("explain", "acme", "--json").rows}


def keys(ended: Ended) -> set[str]:
    """The scripts of the keys that were touched."""
    assert ended.code == 0, ended.err
    return {row["script"] for row in ended.rows}


def test_pause_and_resume_say_what_they_touch(tenantcollect: Command, folder: Path) -> None:
    """A pause holds the keys, is explained with its detail, and ends with resume; a dry run changes nothing."""
    tenantcollect("config", "set", "acme", "git", f"GIT_REPOSITORY={folder}")
    words = ("pause", "acme", "git", "--detail", "moving house", "--json")
    all_of_them = {"repository", "commit", "contributor"}
    assert keys(tenantcollect(*words, "--dry-run")) == all_of_them
    assert "paused_by_user" not in reasons(tenantcollect)
    assert keys(tenantcollect(*words)) == all_of_them
    assert reasons(tenantcollect) == {"paused_by_user"}
    assert "moving house" in tenantcollect("explain", "acme").out
    assert keys(tenantcollect("resume", "acme", "--json")) == all_of_them
    assert "paused_by_user" not in reasons(tenantcollect)


def test_resuming_a_script_says_that_its_source_stays_held(tenantcollect: Command, folder: Path) -> None:
    """Nobody is told that a key runs again while a pause of its whole source holds it."""
    tenantcollect("config", "set", "acme", "git", f"GIT_REPOSITORY={folder}")
    tenantcollect("pause", "acme", "git")
    ended = tenantcollect("resume", "acme", "git", "commit", "--json")
    assert keys(ended) == set()
    assert "acme/git/commit stays held (paused_by_user)" in ended.err
    assert "tenantcollect resume acme git" in ended.err
    assert reasons(tenantcollect) == {"paused_by_user"}


def test_backfill_and_replay_name_the_keys_they_move(tenantcollect: Command, folder: Path) -> None:
    """Older data is planned from the given time on; half a range is refused."""
    tenantcollect("config", "set", "acme", "git", f"GIT_REPOSITORY={folder}")
    words = ("backfill", "acme", "git", "commit", "--since", "2020-01-01T00:00:00Z", "--json")
    assert "commit" in keys(tenantcollect(*words, "--dry-run"))
    before = tenantcollect("plan", "acme", "git", "commit", "--json").rows[0]
    assert "commit" in keys(tenantcollect(*words))
    after = tenantcollect("plan", "acme", "git", "commit", "--json").rows[0]
    assert before["windows_left"] == 1
    assert after["windows"][0] == ["2020-01-01T00:00:00+00:00", "2020-03-31T00:00:00+00:00"]
    assert after["windows_left"] > 25  # of 90 days each
    assert after["history_start"].startswith("2020-01-01T00:00:00")
    assert tenantcollect("replay", "acme", "git", "--start", "2020-01-01T00:00:00Z").code == 2


def test_a_tenant_that_is_not_there_is_said_so(tenantcollect: Command) -> None:
    """Where no key can be meant, nothing is claimed to have been done."""
    tenantcollect("db", "upgrade")
    ended = tenantcollect("pause", "nobody")
    assert (ended.code, ended.out) == (2, "")
    assert "no such key: nobody" in ended.err


def test_a_pause_that_is_over_is_refused(tenantcollect: Command, folder: Path) -> None:
    """It would hold nothing, and say that it does."""
    assert tenantcollect("config", "set", "acme", "git", f"GIT_REPOSITORY={folder}").code == 0
    ended = tenantcollect("pause", "acme", "--until", "2020-01-01T00:00:00Z", "--dry-run")
    assert (ended.code, ended.out) == (2, "")
    assert "until must lie in the future" in ended.err


@pytest.mark.parametrize("command", ["status", "explain", "plan", "history", "check", "run"])
def test_where_nothing_is_configured_that_is_said(tenantcollect: Command, command: str) -> None:
    """At night an empty answer is taken for a good one, also of the wrong database."""
    assert tenantcollect("db", "upgrade").code == 0
    ended = tenantcollect(command)
    assert ended.code == 0
    assert "no tenant has a data source configured here" in ended.err
    assert tenantcollect(command, "--json").err == ""
