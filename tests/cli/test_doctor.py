from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from tests.cli.conftest import Command


def test_doctor_examines_and_makes_no_file(tenantcollect: Command, folder: Path) -> None:
    """A file that is not there: exit code 4 and the command to run. After it, 0."""
    ended = tenantcollect("doctor")
    assert (ended.code, ended.err) == (4, "")
    assert "tenantcollect db upgrade" in ended.out
    assert not (folder / "tenantcollect.db").exists()
    assert tenantcollect("db", "upgrade").code == 0
    ended = tenantcollect("doctor", "--json")
    assert ended.code == 0
    assert {row["topic"] for row in ended.rows} >= {"plugins", "database", "schema", "tables", "secrets", "clock"}
    assert {row["severity"] for row in ended.rows} == {"ok"}


def test_a_problem_gives_3_and_a_warning_0(tenantcollect: Command, folder: Path) -> None:
    """What needs somebody is an exit code that a monitor sees; what is only to be known is none."""
    assert tenantcollect("db", "upgrade").code == 0
    assert tenantcollect("config", "set", "acme", "git", f"GIT_REPOSITORY={folder}").code == 0
    misspelt = {"TENANTCOLLECT_PLUGINS": "gti"}
    ended = tenantcollect("doctor", "--json", **misspelt)
    assert ended.code == 3
    assert "problem" in {row["severity"] for row in ended.rows if row["topic"] == "plugins"}


def test_a_database_that_is_down_gives_4_without_its_password(tenantcollect: Command) -> None:
    """One finding on stdout, no traceback."""
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:1/nothing"
    ended = tenantcollect("doctor", TENANTCOLLECT_DATABASE_URL=url)
    assert ended.code == 4
    assert "unusable" in ended.out
    assert "hunter2" not in ended.out + ended.err
    assert "Traceback" not in ended.err


def test_doctor_on_postgresql_tells_of_roles_and_old_tables(tenantcollect: Command, postgresql_url: str) -> None:
    """The superuser of the tests is warned of; tables of another revision give 4."""
    environment = {"TENANTCOLLECT_DATABASE_URL": postgresql_url}
    assert tenantcollect("db", "upgrade", **environment).code == 0
    ended = tenantcollect("doctor", "--json", **environment)
    assert ended.code == 0
    assert ("roles", "warning") in {(row["topic"], row["severity"]) for row in ended.rows}
    engine = create_engine(make_url(postgresql_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE tenantcollect_alembic_version SET version_num = '0000'"))
    engine.dispose()
    ended = tenantcollect("doctor", **environment)
    assert (ended.code, "db upgrade" in ended.out) == (4, True)


def test_doctor_of_an_app_without_a_database(hub: Command) -> None:
    """An app on the memory backend: its plugins are examined."""
    ended = hub("doctor", "--json")
    assert (ended.code, {row["severity"] for row in ended.rows}) == (0, {"ok"})
