"""``doctor``: what it finds, on SQLite and on PostgreSQL, and that one trouble hides no other."""

import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from cryptography.fernet import Fernet
from sqlalchemy import Column, ForeignKey, Integer, MetaData, NullPool, Table, create_engine, make_url, text

from tenantcollect.contrib.crypto import FernetCipher
from tenantcollect.reports import Severity, as_json
from tests.backends.examining import COLLECTORS, Broken, Facts, connected, examined, severities
from tests.backends.transaction_pooler import pooled


@pytest.fixture
def upgraded(database_url: str) -> str:
    """A database with our tables and the collector's."""
    with connected(database_url) as orchestrator:
        orchestrator.upgrade()
    return database_url


def test_a_database_in_order_has_no_problem(upgraded: str) -> None:
    """Everything that was looked at is told, also what is well."""
    found = severities(examined(upgraded))
    shared = {"plugins", "database", "schema", "tables", "rows", "catalog", "secrets", "clock"}
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


@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        ("DROP TABLE tenantcollect_data_source_hold", "tenantcollect_data_source_hold"),
        (
            "ALTER TABLE tenantcollect_data_source_lease DROP COLUMN progress",
            "tenantcollect_data_source_lease.progress",
        ),
        ("DROP TABLE tenantcollect_alembic_version", "tenantcollect_alembic_version"),
    ],
)
def test_what_is_lost_of_our_tables_is_not_to_be_upgraded(upgraded: str, statement: str, lost: str) -> None:
    """The revision alone does not say that the tables are there; only a backup has what is lost."""
    url = make_url(upgraded)
    engine = create_engine(url if upgraded.startswith("sqlite") else url.set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
    [row] = examined(upgraded)["schema"]
    assert (row.severity, lost in row.detail, "backup" in (row.action or "")) == (Severity.UNUSABLE, True, True)


def test_a_column_that_upgrade_would_not_add_is_told(execute: Callable[..., None], collected_postgresql: str) -> None:
    """A collector's new version may need a column; upgrade makes tables and alters none."""
    execute("ALTER TABLE fact DROP COLUMN note")
    [row] = examined(collected_postgresql, schema="tc")["tables"]
    assert (row.severity, "fact.note" in row.detail) == (Severity.PROBLEM, True)


def test_a_foreign_key_that_leads_elsewhere_ends_nothing(upgraded: str) -> None:
    """Tables need no order to be looked for."""
    elsewhere = MetaData()
    Table("child", elsewhere, Column("parent", Integer, ForeignKey("somebody.id"), primary_key=True))
    [row] = examined(upgraded, collectors={"demo.child": Facts(elsewhere)})["tables"]
    assert (row.severity, "child" in row.detail) == (Severity.PROBLEM, True)


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
    [lost] = examined(upgraded, cipher=FernetCipher(keys[1:]))["secrets"]
    assert (lost.severity, lost.detail.startswith("TOKEN of acme demo")) == (Severity.PROBLEM, True)
    with connected(upgraded, cipher=FernetCipher(keys[:1])) as orchestrator:
        for number in range(8):
            orchestrator.configure(f"t{number}", "demo", {"TOKEN": "tok-3f9a77"})
    *first, more = examined(upgraded, cipher=FernetCipher(keys[1:]))["secrets"]
    assert ({row.severity for row in (*first, more)}, len(first)) == ({Severity.PROBLEM}, 3)
    assert more.detail == "6 more secret values cannot be decrypted"


def test_a_cipher_that_cannot_be_used_is_a_problem(upgraded: str) -> None:
    """Its mistake is what was found."""

    class Wrong:
        key_id = "projects/x"

    with connected(upgraded) as orchestrator:
        orchestrator.configure("acme", "demo", {"TOKEN": "tok-3f9a77"})
    [row] = examined(upgraded, cipher=Wrong())["secrets"]
    assert (row.severity, "key_id must be" in row.detail) == (Severity.PROBLEM, True)


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


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_is_wrong_is_told(collected_postgresql: str, hours: int) -> None:
    """An hour between this machine and the database's, whichever is late."""
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours), tick=True):
        [row] = examined(collected_postgresql, schema="tc")["clock"]
    assert (row.severity, " 3600." in row.detail or " 3599." in row.detail) == (Severity.WARNING, True)


@pytest.mark.parametrize(("threshold", "severity"), [("5", "problem"), ("none", "ok")])
def test_a_transaction_pooler_is_known(collected_postgresql: str, threshold: str, severity: str) -> None:
    """Prepared statements do not live behind one: the cure is said, and with it all is well."""
    url = make_url(collected_postgresql).set(drivername="postgresql+psycopg")
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
