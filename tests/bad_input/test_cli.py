"""PROTOCOL section 9 on the command line, row by row: exit codes 2 to 4, short messages, no driver's words."""

import json
import os
from pathlib import Path
from shlex import split
from typing import Any

import pytest

from tenantcollect.secrets import LONGEST_TEXT
from tests.bad_input.conftest import BOTH, Command
from tests.bad_input.hub import SECRET, VALUE
from tests.bad_input.test_api import edit
from tests.unit.conftest import Packages

READING = ("status", "history", "explain", "plan", "check", "config list")


def misbehave(app: Command, way: str, *more: str) -> None:
    """Give the bad tenant its way, and run a pass: the good tenant's window is completed, and the exit code tells."""
    assert app("config", "set", "bad", "hub", f"WAY={way}", "TOKEN=-", *more, stdin=SECRET).code == 0
    ended = app("run", "--json")
    ended.assert_shows_nothing()
    report = json.loads(ended.out)
    assert report["windows"]["completed"] >= 1
    assert ended.code == (3 if report["needs_action"] else 0)


def read_all(app: Command, *, code: int = 3) -> str:
    """What every reading command prints of the bad tenant, as a table and as JSON; none shows what it must not."""
    told = []
    for words in READING:
        for json_too in ((), ("--json",)):
            ended = app(*words.split(), "bad", *json_too)
            ended.assert_shows_nothing()
            assert ended.code == (code if words == "check" else 0)
            assert len(ended.out + ended.err) < 4 * LONGEST_TEXT  # error, detail and root cause, and what is around
            told += [ended.out, ended.err]
            if json_too:
                assert ended.rows
                assert all(
                    len(text) <= LONGEST_TEXT for row in ended.rows for text in row.values() if isinstance(text, str)
                )
    return "".join(told)


@pytest.mark.parametrize("way", ["message", "cause", "model", "exits", "number"])
def test_secret_in_exception_traceback_repr_log_history_json(app: Command, way: str) -> None:
    """Masked on both streams of every command that shows it, also url-encoded."""
    misbehave(app, way)
    told = read_all(app)
    assert "***" in told
    assert "3f9a77" not in told


@BOTH
@pytest.mark.parametrize("way", ["unique", "missing"])
def test_database_errors_that_repeat_data(app: Command, way: str) -> None:
    """Shown as class, SQLSTATE, constraint, column; DETAIL and the row never."""
    misbehave(app, way)
    told = read_all(app)
    assert "IntegrityError" in told
    assert "bad_input_thing" in told
    assert VALUE not in told


@pytest.mark.parametrize("rest", ["", "/db", "/db?sslmode=require"])
def test_password_in_a_url_on_the_command_line(command: Command, tmp_path: Path, rest: str) -> None:
    """Refused on argv with a hint; accepted from the environment and from a file, and not repeated."""
    url = f"postgresql://me:hunter2@127.0.0.1:1{rest}"
    command("--database-url", url, "status").assert_refused(2, "TENANTCOLLECT_DATABASE_URL", "@FILE")
    (tmp_path / "url").write_text(url, encoding="utf-8")
    doctor = "tenantcollect --database-url @url doctor"
    command("--database-url", "@url", "status").assert_refused(4, "cannot be reached", doctor)
    command("status", TENANTCOLLECT_DATABASE_URL=url).assert_refused(4, "cannot be reached", "tenantcollect doctor")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "cannot be read"),
        ("postgresql://me@127.0.0.1:hunter2/db", "cannot be read"),
        ("postgresql://me@127.0.0.1:1/db?no_such=hunter2", "no_such"),
        ("mysql://me:hunter2@host/db", "mysql is not supported"),
        ("sqlite:///:memory:", "must be a file"),
        ("sqlite:///other.db?timeout=hunter2", "no option 'timeout'"),
        ("sqlite:///ot\0her.db", "without NUL"),
        ("sqlite://host/other.db", "three slashes"),
        (f"sqlite:///{'x' * 300}.db", "File name too long"),
        ("sqlite:///folder.db", "is a folder"),
    ],
)
def test_a_url_that_can_never_work(command: Command, tmp_path: Path, url: str, said: str) -> None:
    """A wrong command line, whatever is wrong with it, and without what stands in it."""
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "url").write_text(url, encoding="utf-8")
    for words in ("db upgrade", "status"):
        command("--database-url", "@url", *words.split()).assert_refused(2, said)


def test_a_file_of_a_name_that_is_no_text(command: Command) -> None:
    """What a shell passes on of another encoding is refused before any driver meets it."""
    command("--database-url", "sqlite:///\udcff.db", "db", "upgrade").assert_refused(2, "UTF-8")


def test_a_working_directory_that_is_gone(command: Command, tmp_path: Path) -> None:
    """A relative path leads nowhere then, and that is told."""
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    command("db", "upgrade").assert_refused(2, "No such file or directory")


def test_schema_or_role_name(app: Command) -> None:
    """Refused before anything connects."""
    app("status", build="hostile_schema").assert_refused(2, "schema", "a-z, 0-9 and _")


@pytest.mark.parametrize("tenant", ["", " a", "a\nb", "a\x1b[31mb", "a\u202eb", "a\udcff", "x" * 201])
def test_tenant_that_is_none(app: Command, tenant: str) -> None:
    """Named as what it is: an error of the command line, whatever the command."""
    app("config", "set", tenant, "hub").assert_refused(2, "tenant_id")
    app("config", "unset", tenant, "hub").assert_refused(2, "tenant_id")
    for words in ("status", "history", "explain", "plan", "check", "trigger", "pause", "resume"):
        app(words, tenant).assert_refused(2, "tenant_id")
    app("replay", tenant, "hub").assert_refused(2, "tenant_id")
    app("run", "--json", "--tenant", tenant).assert_refused(2, "tenant_id")
    app("backfill", tenant, "hub", "--since", "2026-01-01T00:00:00Z").assert_refused(2, "tenant_id")


@pytest.mark.parametrize("name", ["", "Hub", "a.b", "1st", "x" * 64, 'h"; DROP TABLE', "a\udcff", "a\x1b[31m"])
def test_source_or_script_that_is_none(app: Command, name: str) -> None:
    """Named as what it is."""
    app("config", "set", "bad", name).assert_refused(2, "data_source")
    app("status", "good", name).assert_refused(2, "data_source")
    app("run", "--script", name).assert_refused(2, "script")
    app("explain", "--json", "good", "hub", name).assert_refused(2, "script")


def test_a_tenant_with_a_name_like_a_command(app: Command, url: str) -> None:
    """The command in its action names it, and does nothing else."""
    tenant = "x; rm -rf 'here'"
    assert app("config", "set", tenant, "hub").code == 0
    assert app("pause", tenant).code == 0
    [row] = app("explain", tenant, "--json").rows
    words = split(row["action"])
    assert words == ["tenantcollect", "resume", tenant, "hub"]
    assert app(*words[1:]).code == 0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ValueError('at import')", "ValueError: at import"),
        ("import no_such_module", "no_such_module"),
        ("raise SystemExit('hunter')", "SystemExit"),
        ("def run(:", "broken_plugin.py:1"),
        ("from tenantcollect import hookimpl\n@hookimpl\ndef run(tenant): ...", "tenant_id"),
        ("from tenantcollect import hookimpl\n@hookimpl\ndef run():\n  yield 1", "generator"),
    ],
)
def test_entry_point_that_cannot_be_loaded(app: Command, packages: Packages, source: str, said: str) -> None:
    """``plugins`` lists it and exits with 3; the pass of all others goes on, and ``run`` tells with 3."""
    packages.install("broken-pkg", "1.2", {"broken.thing": "broken_plugin"}, modules={"broken_plugin": source})
    ended = app("plugins", "--json")
    ended.assert_refused(3)
    [row] = [row for row in ended.rows if row["name"] == "broken.thing"]
    assert said in row["error"]
    assert "broken-pkg 1.2" in row["error"]
    app("plugins").assert_shows_nothing()
    assert app("config", "set", "bad", "broken").code == 0
    ended = app("run", "--json")
    ended.assert_refused(3)
    assert json.loads(ended.out)["windows"]["completed"] == 1


def test_entry_point_of_the_same_name(app: Command, packages: Packages) -> None:
    """Both packages are named, with the cure."""
    good = "from tenantcollect import hookimpl\n@hookimpl\ndef run(): return 1"
    for package in ("first-pkg", "second-pkg"):
        packages.install(package, "1.0", {"twice.thing": package[:5]}, modules={package[:5]: good})
    ended = app("plugins")
    assert ended.code == 3
    for name in ("first-pkg", "second-pkg", "TENANTCOLLECT_PLUGINS"):
        assert name in ended.out.replace("\n", "")


@pytest.mark.parametrize("way", ["huge", "forged"])
def test_oversize_error_or_output(app: Command, way: str) -> None:
    """Cut, and escaped in logs and tables; JSON stays JSON."""
    misbehave(app, way)
    told = read_all(app)
    assert not any(mark in told for mark in ("\u2028", "\x00"))
    assert "error: forged" not in told.splitlines()


@pytest.mark.parametrize("value", ["0", "-1", "nan", "a day", "inf", "1e10"])
def test_window_duration(command: Command, value: str) -> None:
    """Seconds that are none name the option and the bound; those of a collector: ``test_api``."""
    for option in ("--window-timeout", "--lease-ttl", "--retry-delay", "--grace", "--max-duration"):
        command("run", option, value).assert_refused(2, option, "31622400")


@pytest.mark.parametrize(
    "moment", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "2026-02-30T00:00:00Z", "1"]
)
def test_a_time_that_is_none(app: Command, moment: str) -> None:
    """A time outside of the calendar names the option and how to write it."""
    app("backfill", "good", "--since", moment).assert_refused(2, "--since", "write it like")
    app("pause", "good", "--until", moment).assert_refused(2, "--until", "write it like")


@pytest.mark.parametrize("stored", ["infinity", "[", '[["2026-01-01T00:00:00+00:00", "9999-01-01T00:00:00+00:00"]]'])
@BOTH
def test_coverage_in_the_future_infinite_or_edited_by_hand(app: Command, url: str, stored: str) -> None:
    """That key refuses, ``run`` exits with 3, and the action that ``explain`` tells is the cure."""
    misbehave(app, "fine")
    edit(url, "coverage", stored)
    app("trigger")
    app("trigger", "bad")
    ended = app("run", "--json")
    ended.assert_refused(3)
    assert app("status", "bad", "--json").rows[0]["reason"] == "config_invalid"
    action = app("explain", "bad", "--json").rows[0]["action"]
    assert app(*split(action.partition("tenantcollect ")[2])).code == 0
    assert app("run", "--json").code == 0
    assert app("explain", "bad", "--json").rows[0]["reason"] in ("not_due", "up_to_date")


@pytest.mark.parametrize(
    ("word", "named"),
    [
        (f"TOKEN={SECRET}\udcff", "TOKEN"),
        ("A\nB=x", "NUL or control"),
        ("=x", "word 1"),
        ("hunter2", "word 1"),
        ("FLAG=perhaps", "FLAG"),
    ],
)
def test_env(app: Command, word: str, named: str) -> None:
    """The key is named, never the value; nothing is stored."""
    app("config", "set", "bad", "hub", word).assert_refused(2, named)
    assert [row["tenant_id"] for row in app("config", "list", "--json").rows] == ["good"]


def test_env_that_is_too_large(app: Command) -> None:
    """Refused with its size and the limit."""
    app("config", "set", "bad", "hub", "TOKEN=-", stdin="x" * 131_100).assert_refused(2, "131072")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"[tenants.bad.hub]\nWAY = 'x'", ":1: unknown key 'tenants', did you mean 'tenant'?"),
        (b"[tenant.bad.hub]\nTOKEN = { secrt = 'hunter2' }", ":2: TOKEN: unknown key 'secrt', did you mean 'secret'?"),
        (b"[tenant.bad.hub]\nWAY = 'a'\nWAY = 'b'", ":3: this key or table stands in the file a second time"),
        (b"[tenant.bad.hub]\nWAY = " + b"1" * 5000, ":2: not valid TOML: a number is too long"),
        (b"[tenant.bad.hub]\nFLAG = 'hunter2'", ":2: FLAG"),
        (b"[tenant.bad.nosuch]\nA = 'hunter2'", ":1: "),
        (b"[tenant.bad.hub]\nA = '\xff'", ":2: is not UTF-8"),
        (b"#" * (1024 * 1024 + 1), "larger than 1 MiB"),
    ],
)
def test_toml(app: Command, tmp_path: Path, text: bytes, named: str) -> None:
    """An error with the line and a near match; nothing is written."""
    (tmp_path / "file.toml").write_bytes(text)
    app("config", "import", "file.toml", "--json").assert_refused(2, named)
    assert [row["tenant_id"] for row in app("config", "list", "--json").rows] == ["good"]


def test_toml_with_a_byte_order_mark(app: Command, tmp_path: Path) -> None:
    """Read as if it were not there."""
    (tmp_path / "file.toml").write_bytes(b"\xef\xbb\xbf[tenant.bad.hub]\r\nWAY = 'fine'\r\n")
    assert app("config", "import", "file.toml").code == 0
    assert app("config", "list", "bad", "--json").rows[0]["env"] == {"WAY": "fine"}


@pytest.mark.parametrize("word", ["false", "0", "no"])
def test_boolean_in_words(app: Command, word: str) -> None:
    """False, though as a text it is true."""
    misbehave(app, "flag", f"FLAG={word}")
    assert app("history", "bad", "--json").rows[0]["status"] == "COMPLETED"


def test_one_tenant_with_very_many_keys(app: Command) -> None:
    """Each tenant has its turn, and a table of very many keys ends."""
    ended = app("run", "--json", "--max-windows", "2", build="crowded")
    assert {key["tenant_id"] for key in json.loads(ended.out)["keys"]} >= {"good", "bad"}
    assert app("status", "--limit", "5", "--json", build="crowded").rows.__len__() == 5


def test_endless_collector(app: Command) -> None:
    """Its timeout ends it; the reason is shown."""
    misbehave(app, "endless")
    rows: list[dict[str, Any]] = app("history", "bad", "--json").rows
    assert "WindowTimedOut" in rows[0]["error"]
