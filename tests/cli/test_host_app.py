import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Command, arguments, environment
from tests.cli.hub import SECRET


def test_run_collects_what_is_due_and_reports_as_json(hub: Command) -> None:
    """``run --json`` is one object: the times, the counts and the keys touched."""
    ended = hub("run", "--json")
    assert ended.code == 0
    report = ended.json
    assert report["schema_version"] == 1
    assert report["windows"] == {"completed": 2 * (3 + 90), "failed": 0, "waiting": 0, "busy": 0}
    assert {key["tenant_id"] for key in report["keys"]} == {"acme", "globex"}
    assert report["started_at"].endswith("+00:00")


def test_run_takes_only_what_is_chosen(hub: Command) -> None:
    """Each selector may be repeated and narrows the pass; the number of windows is bounded."""
    keys = hub("run", "--json", "--tenant", "acme", "--script", "team", "--max-windows", "2").json
    assert keys["windows"]["completed"] == 2
    assert {(key["tenant_id"], key["script"]) for key in keys["keys"]} == {("acme", "team")}


def test_a_failing_tenant_gives_3_and_is_explained(hub: Command) -> None:
    """Some key failed: exit code 3, with who, why and what to do; the other tenant completes."""
    ended = hub("run", HUB_REFUSES="acme")
    assert ended.code == 3
    assert "acme/hub/team" in ended.out
    assert "auth_failed" in ended.out
    assert "tenantcollect --app hub:build explain" in ended.out
    assert "93 windows completed, 1 failed, 1 key waiting, 1 key held" in ended.out


def test_exit_zero_is_for_schedulers_that_watch_otherwise(hub: Command) -> None:
    """``--exit-zero``, also as a variable, exits with 0 though a key failed."""
    assert hub("run", "--exit-zero", "-q", HUB_REFUSES="acme").code == 0
    assert hub("run", "-q", HUB_REFUSES="acme", TENANTCOLLECT_EXIT_ZERO="1").code == 0


@pytest.mark.parametrize("words", [["run"], ["run", "--json"], ["check"], ["check", "--json"], ["config", "list"]])
def test_no_output_holds_a_secret_or_drives_the_terminal(hub: Command, words: list[str]) -> None:
    """G6: what a collector says is masked, and escaped where a person reads it."""
    ended = hub(*words, HUB_REFUSES="acme")
    for text in (ended.out, ended.err):
        assert SECRET not in text
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_logs_go_to_stderr_one_line_each(hub: Command) -> None:
    """What a collector logs is no part of the output, and cannot forge a line or drive the terminal."""
    ended = hub("run", "--json", "--tenant", "acme", "--script", "team", "--max-windows", "1")
    assert ended.err.splitlines() == ["warning: [acme/hub/team] met no\\x1b[31m \\u202e[red]entry"]
    assert ended.json["windows"]["completed"] == 1


def test_check_gives_3_when_credentials_are_refused(hub: Command) -> None:
    """``check`` says for each source what was found, and exits with 3 if any is refused."""
    ended = hub("check", "--json", HUB_REFUSES="acme")
    assert ended.code == 3
    assert [(row["tenant_id"], row["ok"]) for row in ended.rows] == [("acme", False), ("globex", True)]
    assert hub("check", "globex", HUB_REFUSES="acme").code == 0


@pytest.mark.parametrize("command", ["plan", "status", "explain"])
def test_words_narrow_what_is_read(hub: Command, command: str) -> None:
    """Fewer words mean more keys; the JSON lists name their database."""
    assert len(hub(command, "--json").rows) == 4
    assert len(hub(command, "acme", "--json").rows) == 2
    one = hub(command, "acme", "hub", "team", "--json")
    assert [(row["tenant_id"], row["script"]) for row in one.rows] == [("acme", "team")]
    assert one.json["schema_version"] == 1
    assert "database" in one.json
    assert len(hub(command, "--json", "--limit", "1").rows) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("plan acne", "acne; did you mean 'acme'?"),
        ("status --stale acne", "acne; did you mean 'acme'?"),
        ("history acme hbu", "acme/hbu; did you mean 'hub'?"),
        ("explain acme hub taem", "acme/hub/taem; did you mean 'team'?"),
        ("check acne", "acne; did you mean 'acme'?"),
        ("run --quiet --tenant acne --script team", "acne/*/team; did you mean 'acme'?"),
        ("trigger acne", "acne; did you mean 'acme'?"),
        ("replay acme hub taem", "acme/hub/taem; did you mean 'team'?"),
        ("config list acne", "acne; did you mean 'acme'?"),
        ("config unset acne hub", "acne/hub; did you mean 'acme'?"),
        ("status xyz", "xyz; see: tenantcollect --app hub:build status"),
    ],
)
def test_a_misspelt_selector_gives_2_with_a_near_match(hub: Command, words: str, said: str) -> None:
    """What no key matches is an error of the command line: no heading, or as JSON nothing in it."""
    ended = hub(*words.split())
    assert (ended.code, ended.out) == (2, "")
    assert f"no such key: {said}" in ended.err
    ended = hub(*words.split(), "--json")
    assert ended.code == 2
    assert not ended.json.get("rows")
    assert not ended.json.get("keys")


def test_a_key_without_history_is_no_mistake(hub: Command) -> None:
    """What is configured exists, though there is nothing to show of it yet."""
    ended = hub("history", "acme", "hub", "team", "--json")
    assert (ended.code, ended.rows) == (0, [])


def test_stale_gives_3(hub: Command) -> None:
    """``status --stale`` exits with 3 if any key is stale, so that a monitor can call it."""
    assert hub("status").code == 0
    assert hub("status", "--stale").code == 3


@pytest.mark.parametrize(
    "words", ["check", "status --stale", "status --stale --limit 1", "status --stale --limit 1 --json"]
)
def test_what_is_not_shown_is_judged_all_the_same(tenantcollect: Command, words: str) -> None:
    """The exit code speaks of every row, though a table shows the first hundred, or as many as it is told."""
    ended = tenantcollect("--app", "crowd:build", *words.split())
    assert ended.code == 3
    assert "t119" not in ended.out
    if "--limit" not in words:
        assert "only the first 100 of 120 are shown" in ended.err


def test_plugins_shows_what_each_collector_says_of_itself(hub: Command) -> None:
    """Package, provides, dependencies, window and schema of each collector."""
    rows = {row["name"]: row for row in hub("plugins", "--json").rows}
    assert rows["hub.repository"]["dependencies"] == ["team"]
    assert rows["hub.team"]["import_window_duration"] == 30 * 86400
    assert "URL" in json.dumps(rows["hub.team"]["config_schema"])


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("hub", "module:attribute"),
        ("nowhere:build", "cannot be imported"),
        ("hub:missing", "there is no 'missing'"),
        ("hub:nothing", "NoneType"),
        ("hub:broken", "ValueError: no such server at "),
        ("hub:mute", "Mute: (its message cannot be written) at "),
        ("hub:moody.build", "RuntimeError: not today at "),
        ("", "module:attribute"),
    ],
)
def test_an_app_that_cannot_be_used_gives_2_and_one_line(tenantcollect: Command, name: str, part: str) -> None:
    """A wrong ``--app`` is an error of the command line, told in one line without a traceback."""
    ended = tenantcollect("--app", name, "status")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert part in ended.err


def test_a_host_that_ends_the_process_does_not_end_the_command_with_0(tenantcollect: Command) -> None:
    """Whoever calls ``sys.exit`` in what a command asks: it was not done, and that is told."""
    ended = tenantcollect("--app", "hub:leaving", "status")
    assert (ended.code, ended.out) == (3, "")
    assert "SystemExit: 0 at " in ended.err


def test_an_option_of_the_engine_is_refused_beside_an_app(hub: Command) -> None:
    """An option that the app alone can set is refused, not ignored; a variable for other commands is."""
    assert hub("run", "--lease-ttl", "60").code == 2
    assert hub("run", "-q", "--max-windows", "1", TENANTCOLLECT_LEASE_TTL="60").code == 0


def test_a_url_and_an_app_at_once_are_refused(tenantcollect: Command) -> None:
    """Of two databases on one command line neither is guessed."""
    assert tenantcollect("--database-url", "sqlite:///x.db", "--app", "hub:build", "plan").code == 2


def test_a_reader_that_goes_away_is_no_bug(folder: Path) -> None:
    """``| head`` ends a command without a traceback, and not with the exit code of a bug."""
    with subprocess.Popen(
        arguments("--app", "hub:build", "plan", "--json"),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        writer.stdout.close()
        assert writer.stderr.read() == b""
    assert writer.returncode == 141


def test_what_a_collector_prints_does_not_spoil_the_json(tenantcollect: Command) -> None:
    """stdout is the answer of the command; a collector's prints go to stderr."""
    ended = tenantcollect("--app", "hub:build", "run", "--json", HUB_CHATTERS="1")
    assert ended.json["windows"]["completed"] > 0
    assert "fetching" in ended.err


def test_an_option_of_the_environment_that_the_app_overrules_is_said(tenantcollect: Command) -> None:
    """Nobody believes that windows run in processes when the app runs them in threads."""
    ended = tenantcollect("--app", "hub:build", "run", "--json", TENANTCOLLECT_EXECUTOR="processes")
    assert ended.json["windows"]["completed"] > 0
    assert "TENANTCOLLECT_EXECUTOR" in ended.err
