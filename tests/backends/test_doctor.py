"""``doctor``: what it finds, on SQLite and on PostgreSQL, and that one trouble hides no other."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from cryptography.fernet import Fernet
from sqlalchemy import Column, Integer, MetaData, NullPool, String, Table, create_engine, make_url, text

import tenantcollect
from tenantcollect import Orchestrator, hookimpl
from tenantcollect.contrib.crypto import FernetCipher
from tenantcollect.reports import FindingRow, Severity, as_json
from tests.backends.transaction_pooler import pooled

METADATA = MetaData()
Table("fact", METADATA, Column("id", Integer, primary_key=True), Column("tenant_id", String), Column("note", String))
TENANT = "current_setting('tenantcollect.tenant_id', true)"
OWN = f"CREATE POLICY own ON fact USING (tenant_id = NULLIF({TENANT}, ''))"
Examine = Callable[..., dict[str, list[FindingRow]]]


class Facts:
    @hookimpl
    def tables(self) -> MetaData:
        return METADATA

    @hookimpl
    def run(self) -> None:
        """Collect nothing."""


class Broken:
    @hookimpl
    def runn(self) -> None:
        """Misspelt."""


COLLECTORS: Mapping[str, object] = {"demo.fact": Facts()}


@pytest.fixture
def nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed collectors are left out."""
    monkeypatch.setenv("TENANTCOLLECT_PLUGINS", "nothing")


def connected(url: Any, **options: Any) -> Orchestrator:
    """An orchestrator that knows one collector and no installed ones."""
    return tenantcollect.connect(url, **{"collectors": COLLECTORS, **options})


def examined(url: Any, **options: Any) -> dict[str, list[FindingRow]]:
    """The findings by topic."""
    with connected(url, **options) as orchestrator:
        found: dict[str, list[FindingRow]] = {}
        for row in orchestrator.doctor():
            found.setdefault(row.topic, []).append(row)
            assert row.severity is Severity.OK or row.action
        return found


def severities(found: dict[str, list[FindingRow]]) -> dict[str, set[str]]:
    """How much the findings of each topic matter."""
    return {topic: {row.severity.value for row in rows} for topic, rows in found.items()}


@pytest.fixture
def upgraded(database_url: str) -> str:
    """A database with our tables and the collector's."""
    with connected(database_url) as orchestrator:
        orchestrator.upgrade()
    return database_url


@pytest.fixture
def postgresql(postgresql_url: str, nothing_else: None) -> str:
    """A PostgreSQL database with our tables in a schema of their own, and the collector's."""
    with connected(postgresql_url, schema="tc") as orchestrator:
        orchestrator.upgrade()
    return postgresql_url


@pytest.fixture
def execute(postgresql: str) -> Callable[..., None]:
    """Runs statements as the owner of the database."""

    def run(*statements: str) -> None:
        engine = create_engine(make_url(postgresql).set(drivername="postgresql+psycopg"), poolclass=NullPool)
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    return run


@pytest.fixture
def role(execute: Callable[..., None]) -> Iterator[str]:
    """A role for collectors, with what they need."""
    name = f"tc_{uuid4().hex}"
    execute(f"CREATE ROLE {name} NOLOGIN", f"GRANT SELECT, INSERT, UPDATE, DELETE ON fact TO {name}")
    yield name
    execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER", f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_a_database_in_order_has_no_problem(upgraded: str) -> None:
    """Everything that was looked at is told, also what is well."""
    found = severities(examined(upgraded))
    shared = {"plugins", "database", "schema", "tables", "catalog", "secrets", "clock"}
    more = {"pragmas"} if upgraded.startswith("sqlite") else {"roles", "policies", "pooler"}
    assert found.keys() == shared | more
    assert {word for words in found.values() for word in words} <= {"ok", "warning"}


def test_a_file_that_is_not_there_is_a_finding_and_is_not_made(tmp_path: Path) -> None:
    """Examining makes nothing; the cure names the command. What needs no database is examined all the same."""
    found = examined(f"sqlite:///{tmp_path / 'nowhere.db'}")
    assert severities(found) == {"plugins": {"ok"}, "database": {"unusable"}}
    assert found["database"][0].action == "run: tenantcollect db upgrade"
    assert not (tmp_path / "nowhere.db").exists()


@pytest.mark.parametrize("why", ["no server", "no database"])
def test_a_database_that_cannot_be_reached_is_one_finding(postgresql_url: str, why: str) -> None:
    """A server that is down, or has no such database: one finding, without the password."""
    down = make_url("postgresql://me:hunter2@127.0.0.1:1/x")
    url = down if why == "no server" else make_url(postgresql_url).set(database="no_such_database")
    found = examined(url)
    assert severities(found) == {"plugins": {"ok"}, "database": {"unusable"}}
    [row] = found["database"]
    assert row.action
    assert ("no_such_database" in row.detail) is (why == "no database")
    assert "hunter2" not in row.detail


def test_tables_that_are_not_there_are_told_with_the_command(postgresql_url: str) -> None:
    """An empty database: ours and the collectors' are missing; what can be asked without them is."""
    found = examined(postgresql_url)
    assert found["schema"][0].severity is Severity.UNUSABLE
    assert found["schema"][0].action == "run: tenantcollect db upgrade"
    assert "fact" in found["tables"][0].detail
    assert {"roles", "policies", "pooler", "clock"} <= found.keys()


def test_another_revision_is_unusable(upgraded: str) -> None:
    """Tables of another version are told with both revisions."""
    url = make_url(upgraded)
    url = url if upgraded.startswith("sqlite") else url.set(drivername="postgresql+psycopg")
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("UPDATE tenantcollect_alembic_version SET version_num = '0000'"))
    [row] = examined(upgraded)["schema"]
    assert (row.severity, "0000" in row.detail) == (Severity.UNUSABLE, True)
    assert "db upgrade" in (row.action or "")


def test_a_column_that_upgrade_would_not_add_is_told(execute: Callable[..., None], postgresql: str) -> None:
    """A collector's new version may need a column; upgrade makes tables and alters none."""
    execute("ALTER TABLE fact DROP COLUMN note")
    [row] = examined(postgresql, schema="tc")["tables"]
    assert (row.severity, "fact.note" in row.detail) == (Severity.PROBLEM, True)


def test_what_failed_to_load_and_what_is_left_out_is_told(upgraded: str, nothing_else: None) -> None:
    """A broken plugin is a problem with its reason; the allow-list is no problem, and is said."""
    rows = examined(upgraded, collectors={**COLLECTORS, "bad.bad": Broken()})["plugins"]
    *_, broken, excluded, sound = rows
    assert (broken.severity, "runn" in broken.detail) == (Severity.PROBLEM, True)
    assert "git.commit" in excluded.detail
    assert sound.detail.startswith("1 ")


def test_plaintext_secrets_are_counted(upgraded: str) -> None:
    """Without a cipher, whoever reads the table reads the secrets: said, with their number and no value."""
    with connected(upgraded) as orchestrator:
        orchestrator.configure("acme", "demo", {"TOKEN": "tok-3f9a77", "OTHER": "tok-88"})
    [row] = examined(upgraded)["secrets"]
    assert (row.severity, row.detail[:2]) == (Severity.WARNING, "2 ")
    assert "tok-" not in str(as_json(row))


def test_encrypted_secrets_are_well_until_their_key_is_lost(upgraded: str) -> None:
    """With a cipher nothing is plaintext; with another one each value that nobody can read is named, with no value."""
    keys = [Fernet.generate_key().decode() for _ in range(2)]
    with connected(upgraded, cipher=FernetCipher(keys[:1])) as orchestrator:
        orchestrator.configure("acme", "demo", {"TOKEN": "tok-3f9a77"})
    [well] = examined(upgraded, cipher=FernetCipher(keys[:1]))["secrets"]
    assert (well.severity, "plaintext" in well.detail) == (Severity.OK, True)
    [older] = examined(upgraded, cipher=FernetCipher(keys[::-1]))["secrets"]
    assert (older.severity, "rotate-keys" in (older.action or "")) == (Severity.WARNING, True)
    lost, *_ = examined(upgraded, cipher=FernetCipher(keys[1:]))["secrets"]
    assert (lost.severity, lost.detail.startswith("TOKEN of acme demo")) == (Severity.PROBLEM, True)


class Exiting:
    """A cipher that ends the process instead of answering."""

    key_id = "exiting"

    def encrypt(self, text: str, *, bound_to: str) -> str:
        return text[::-1]

    def decrypt(self, text: str, *, bound_to: str, key_id: str) -> str:
        sys.exit(0)


def test_a_cipher_that_exits_hides_nothing(upgraded: str) -> None:
    """SystemExit, too, is a finding, and what comes after it is examined."""
    with connected(upgraded, cipher=Exiting()) as orchestrator:
        orchestrator.configure("acme", "demo", {"TOKEN": "tok-3f9a77"})
    found = severities(examined(upgraded, cipher=Exiting()))
    assert (found["secrets"], found["clock"]) == ({"problem"}, {"ok"})


def test_a_clock_that_is_wrong_is_told(postgresql: str) -> None:
    """An hour between this machine and the database's."""
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1), tick=True):
        [row] = examined(postgresql, schema="tc")["clock"]
    assert (row.severity, " 3600." in row.detail or " 3599." in row.detail) == (Severity.WARNING, True)


def test_a_superuser_is_warned_of(postgresql: str) -> None:
    """No policy binds a superuser."""
    [row] = examined(postgresql, schema="tc")["roles"]
    assert (row.severity, "superuser" in row.detail) == (Severity.WARNING, True)


def test_a_collector_role_in_order(execute: Callable[..., None], postgresql: str, role: str) -> None:
    """A role without rights on ours, and a table with a good policy: nothing to do."""
    execute("ALTER TABLE fact ENABLE ROW LEVEL SECURITY", OWN)
    found = examined(postgresql, schema="tc", collector_role=role)
    assert severities(found)["roles"] == severities(found)["policies"] == {"ok"}
    assert "binds" in found["policies"][0].detail


@pytest.mark.parametrize(
    ("statements", "topic", "severity", "said"),
    [
        (["GRANT SELECT ON tc.tenantcollect_data_source_run TO {role}"], "roles", "problem", "tables of ours"),
        (["ALTER ROLE {role} BYPASSRLS"], "roles", "warning", "BYPASSRLS"),
        (["REVOKE ALL ON fact FROM {role}"], "policies", "problem", "may not write into fact"),
        ([], "policies", "warning", "without row-level security: fact"),
        (["{enable}", OWN, "ALTER TABLE fact OWNER TO {role}"], "policies", "problem", "does not bind"),
        (["{enable}", OWN, "ALTER ROLE {role} BYPASSRLS"], "policies", "problem", "does not bind"),
        (["{enable}"], "policies", "problem", "no policy"),
        (["{enable}", "CREATE POLICY own ON fact USING (true)"], "policies", "warning", "no policy of fact speaks"),
        (["{enable}", f"CREATE POLICY own ON fact USING (tenant_id = {TENANT})"], "policies", "warning", "reused"),
        (
            ["{enable}", OWN.replace(", true", "")],
            "policies",
            "warning",
            "missing",
        ),
    ],
)
def test_roles_and_policies_that_do_not_protect(
    execute: Callable[..., None],
    postgresql: str,
    role: str,
    statements: list[str],
    topic: str,
    severity: str,
    said: str,
) -> None:
    """Each way in which isolation looks set up and is not, with what to do."""
    enable = "ALTER TABLE fact ENABLE ROW LEVEL SECURITY"
    execute(*(statement.replace("{role}", role).replace("{enable}", enable) for statement in statements))
    rows = examined(postgresql, schema="tc", collector_role=role)[topic]
    assert [row.severity.value for row in rows if said in row.detail] == [severity]
    assert all(row.action for row in rows if said in row.detail)


def test_a_role_that_cannot_be_taken_is_told(execute: Callable[..., None], postgresql: str, role: str) -> None:
    """The role is not there, or is not granted to the user we connect as: no window could run."""
    [missing] = examined(postgresql, schema="tc", collector_role="tc_nobody")["roles"]
    assert (missing.severity, "CREATE ROLE tc_nobody" in (missing.action or "")) == (Severity.PROBLEM, True)
    login = f"{role}_login"
    execute(f"CREATE ROLE {login} LOGIN", f"GRANT ALL ON SCHEMA tc TO {login}", "CREATE SCHEMA mine")
    execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA tc TO {login}")
    try:
        url = make_url(postgresql).set(username=login)
        [refused] = examined(url, schema="tc", collector_role=role)["roles"]
        assert (refused.severity, f"GRANT {role} TO" in (refused.action or "")) == (Severity.PROBLEM, True)
    finally:
        execute(f"DROP OWNED BY {login}", f"DROP ROLE {login}")


@pytest.mark.parametrize(("threshold", "severity"), [("5", "problem"), ("none", "ok")])
def test_a_transaction_pooler_is_known(postgresql: str, threshold: str, severity: str) -> None:
    """Prepared statements do not live behind one: the cure is said, and with it all is well."""
    url = make_url(postgresql).set(drivername="postgresql+psycopg")
    with tempfile.TemporaryDirectory(prefix="tc-") as folder, pooled(url, Path(folder)) as through:
        found = examined(through.update_query_dict({"prepare_threshold": threshold}), schema="tc")
    [row] = found["pooler"]
    assert (row.severity.value, "by transaction" in row.detail) == (severity, True)
    assert ("prepare_threshold" in (row.action or "")) is (severity == "problem")


def test_a_probe_that_fails_hides_no_other(upgraded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a probe meets is a finding of its topic."""
    with connected(upgraded) as orchestrator:
        monkeypatch.setattr(orchestrator.state, "now", lambda: 1 / 0)
        rows = {row.topic: row for row in orchestrator.doctor()}
    assert rows["clock"].severity is Severity.PROBLEM
    assert "ZeroDivisionError" in rows["clock"].detail
    assert rows["tables"].severity is Severity.OK
