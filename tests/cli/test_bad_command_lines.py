from pathlib import Path

import pytest

from tests.cli.conftest import Command


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@db/name",
        "postgresql+psycopg://db/name?password=hunter2",
        "postgresql://me@server:hunter2@db/name",
        "postgresql://me@server:hunter2@db:port/name",
        "postgresql://me@db/name?pass%77ord=hunter2",
        "postgresql://me@db/name?sslmode=require&sslpa%73sword=hunter2",
    ],
)
def test_a_password_on_the_command_line_is_refused(tenantcollect: Command, url: str) -> None:
    """A password among the arguments is refused with the way to give it, and not repeated."""
    ended = tenantcollect("--database-url", url, "status")
    assert (ended.code, ended.out) == (2, "")
    assert "TENANTCOLLECT_DATABASE_URL" in ended.err
    assert "@FILE" in ended.err
    assert "hunter2" not in ended.err


def test_demo_refuses_a_password_too(tenantcollect: Command) -> None:
    """The option means the same behind ``demo`` as before it."""
    assert tenantcollect("demo", "--repo", ".", "--database-url", "postgresql://me:hunter2@db/name").code == 2


@pytest.mark.parametrize("words", ["status --database-url sqlite:///x.db", "config list --app=hub:build"])
def test_a_global_option_behind_the_command_is_told_its_place(tenantcollect: Command, words: str) -> None:
    """Whoever writes it behind the command is told where it belongs."""
    ended = tenantcollect(*words.split())
    assert (ended.code, ended.out) == (2, "")
    assert "goes before the command: tenantcollect --" in ended.err


def test_a_url_can_stand_in_a_file(tenantcollect: Command, folder: Path) -> None:
    """``@FILE`` reads the URL from a file, on the command line and in the variable."""
    (folder / "url").write_text("sqlite:///other.db\n", encoding="utf-8")
    for ended in (
        tenantcollect("--database-url", "@url", "status"),
        tenantcollect("status", TENANTCOLLECT_DATABASE_URL="@url"),
    ):
        assert ended.code == 4
        assert "other.db" in ended.err
    assert tenantcollect("--database-url", "@missing", "status").code == 2
    endless = tenantcollect("--database-url", "@/dev/zero", "status")
    assert (endless.code, "larger than 64 KiB" in endless.err) == (2, True)


@pytest.mark.parametrize(
    "command", ["status", "plan", "run", "explain", "history", "check", "config list", "db current"]
)
def test_no_reading_command_makes_a_database(tenantcollect: Command, folder: Path, command: str) -> None:
    """Without a database the message says what to set and what makes one; no file appears."""
    ended = tenantcollect(*command.split())
    assert (ended.code, ended.out) == (4, "")
    assert "TENANTCOLLECT_DATABASE_URL" in ended.err
    assert "tenantcollect db upgrade" in ended.err
    assert not (folder / "tenantcollect.db").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["statsu"],
        ["status", "--nope"],
        ["run", "--max-windows", "0"],
        ["run", "--max-duration", "nan"],
        ["run", "--grace", "-1"],
        ["run", "--executor", "carrots"],
        ["backfill", "acme", "git"],
        ["backfill", "acme", "git", "--since", "2026-01-01T00:00:00"],
        ["backfill", "acme", "git", "--since", "yesterday"],
        ["pause"],
        ["config", "set", "acme", "git", "hunter2"],
        ["config", "set", "acme", "git", "A=1", "A=2"],
        ["config", "set", "acme", "git", "A=-", "B=-"],
        ["config", "set", "acme", "git", "A=1", "--secret", "B"],
        ["config", "import", "missing.toml"],
        ["--database-url", "nonsense", "status"],
        ["--database-url", "postgresql://host:port/db", "status"],
        ["--database-url", "sqlite:///new.db?timeout=soon", "db", "upgrade"],
        ["history", "--limit", "9" * 30],
    ],
)
def test_a_wrong_command_line_gives_2_without_a_traceback(tenantcollect: Command, words: list[str]) -> None:
    """What is wrong with the words is told on stderr; nothing is printed, nothing is made."""
    ended = tenantcollect(*words)
    assert (ended.code, ended.out) == (2, "")
    assert "Traceback" not in ended.err
    assert "hunter2" not in ended.err
