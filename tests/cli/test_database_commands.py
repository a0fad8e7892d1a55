import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import Command


def test_upgrade_makes_the_file_and_current_agrees(tenantcollect: Command, folder: Path) -> None:
    """``db upgrade`` makes the SQLite file; ``db current`` then shows the newest revision, and exits with 0."""
    assert tenantcollect("db", "upgrade", "--dry-run").code == 0
    first = tenantcollect("db", "upgrade", "--json")
    assert (first.code, first.json["before"]) == (0, None)
    current = tenantcollect("db", "current", "--json")
    assert current.code == 0
    assert current.json["current"] == current.json["newest"] == first.json["newest"]
    assert "git_commit" in first.json["tables"]
    again = tenantcollect("db", "upgrade")
    assert (again.code, "already" in again.out, "made" in again.out) == (0, True, False)
    assert (folder / "tenantcollect.db").exists()


def test_a_dry_run_of_upgrade_makes_no_file(tenantcollect: Command, folder: Path) -> None:
    """``db upgrade --dry-run`` says what would happen; the file is not made."""
    ended = tenantcollect("db", "upgrade", "--dry-run")
    assert (ended.code, "would go" in ended.out) == (0, True)
    assert not (folder / "tenantcollect.db").exists()


def test_tables_of_new_collectors_are_told_when_they_are_made(tenantcollect: Command, folder: Path) -> None:
    """With a name, and in the words of what would happen when nothing does."""
    assert tenantcollect("db", "upgrade").code == 0
    with sqlite3.connect(folder / "tenantcollect.db") as connection:
        connection.execute("DROP TABLE git_tag")
    connection.close()
    tried = tenantcollect("db", "upgrade", "--dry-run")
    assert (tried.code, "tables of collectors that would be made: git_tag" in tried.out) == (0, True)
    done = tenantcollect("db", "upgrade")
    assert (done.code, "tables of collectors that were made: git_tag" in done.out) == (0, True)


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_an_upgrade_that_cannot_be_is_refused_dry_or_not(
    tenantcollect: Command, folder: Path, options: list[str]
) -> None:
    """Tables of a newer version, or lost ones: exit code 4, and no advice to do the same again."""
    assert tenantcollect("db", "upgrade").code == 0
    for statement, told in (
        ("UPDATE tenantcollect_alembic_version SET version_num = '9999'", "newer version"),
        ("DROP TABLE tenantcollect_alembic_version", "restore it from a backup"),
    ):
        with sqlite3.connect(folder / "tenantcollect.db") as connection:
            connection.execute(statement)
        connection.close()
        ended = tenantcollect("db", "upgrade", *options)
        assert (ended.code, ended.out, told in ended.err) == (4, "", True)
        assert "run: tenantcollect" not in ended.err


@pytest.mark.parametrize("words", [["run"], ["status"], ["explain"], ["history"], ["plan"]])
def test_tables_of_a_newer_version_stop_a_command(tenantcollect: Command, folder: Path, words: list[str]) -> None:
    """Exit code 4, and no advice to upgrade what is newer."""
    assert tenantcollect("config", "set", "acme", "git", f"GIT_REPOSITORY={folder}").code == 0
    with sqlite3.connect(folder / "tenantcollect.db") as connection:
        connection.execute("UPDATE tenantcollect_alembic_version SET version_num = '9999'")
    connection.close()
    current = tenantcollect("db", "current")
    assert (current.code, "if a newer version of tenantcollect made the tables, install that one" in current.err) == (
        4,
        True,
    )
    ended = tenantcollect(*words)
    assert (ended.code, ended.out) == (4, "")
    assert "at revision 9999, which this version of tenantcollect does not know" in ended.err
    assert "db upgrade" not in ended.err


def test_sql_prints_statements_a_person_can_run(tenantcollect: Command, folder: Path) -> None:
    """``db sql`` prints the whole upgrade for SQLite; what it prints, SQLite accepts. No file is made."""
    ended = tenantcollect("db", "sql")
    assert ended.code == 0
    assert not (folder / "tenantcollect.db").exists()
    with sqlite3.connect(folder / "by_hand.db") as connection:
        connection.executescript(ended.out)
    connection.close()
    assert tenantcollect("db", "current", TENANTCOLLECT_DATABASE_URL="sqlite:///by_hand.db").code == 0


def test_a_database_without_our_tables_gives_4_and_the_command(tenantcollect: Command, folder: Path) -> None:
    """A database whose tables are not there is told apart from one that cannot be reached: upgrade it."""
    with sqlite3.connect(folder / "tenantcollect.db") as connection:
        connection.execute("CREATE TABLE theirs (id INTEGER)")
    connection.close()
    for words in (["status"], ["run"], ["db", "current"], ["config", "set", "acme", "git", "GIT_REPOSITORY=/x"]):
        ended = tenantcollect(*words)
        assert ended.code == 4
        assert "tenantcollect db upgrade" in ended.err


def test_a_database_that_cannot_be_reached_gives_4(tenantcollect: Command) -> None:
    """No server, no traceback: exit code 4, one line, the password hidden."""
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:1/nothing"
    ended = tenantcollect("status", TENANTCOLLECT_DATABASE_URL=url)
    assert (ended.code, ended.out) == (4, "")
    assert "hunter2" not in ended.err
    assert "Traceback" not in ended.err


def test_postgresql_shows_its_name_without_the_password(tenantcollect: Command, postgresql_url: str) -> None:
    """The same commands work on PostgreSQL; the database is named without its password."""
    assert tenantcollect("db", "upgrade", TENANTCOLLECT_DATABASE_URL=postgresql_url).code == 0
    ended = tenantcollect("status", "--json", TENANTCOLLECT_DATABASE_URL=postgresql_url)
    assert (ended.code, ended.rows) == (0, [])
    assert "postgresql" in ended.json["database"]
