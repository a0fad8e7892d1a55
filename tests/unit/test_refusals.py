import tracemalloc

import pytest

from tenantcollect.backends.sql.refusals import refusal
from tenantcollect.errors import IsolationRefused, TransactionBroken

ENDINGS = [
    "COMMIT",
    "commit and chain",
    "\n\t ;; Rollback ;",
    "/* a /* nested */ comment */ COMMIT",
    "-- a comment\r\nEND",
    "--x\rCOMMIT",
    "ABORT WORK",
    "BEGIN",
    "start\ttransaction read write",
    "PREPARE TRANSACTION 'x'",
    "ROLLBACK AND CHAIN",
    "SELECT ';' ; COMMIT",
    "INSERT INTO t VALUES ('it''s; fine', $$;$$, E'\\'; --'); COMMIT; INSERT INTO t VALUES (2)",
    "CREATE TABLE t (id int); END",
    'CREATE TABLE t AS SELECT 1 AS "BEGIN"; END',
]
LEAVINGS = [
    "UPDATE pg_settings SET setting = '1ms' WHERE name = 'statement_timeout'",
    'update only pg_catalog . "pg_settings" set setting = 1',
    "ALTER ROLE CURRENT_USER SET search_path = other",
    "SELECT U&\"set\\005fconfig\"('role', 'app', false)",
    "SELECT U&\"set!005fconfig\" UESCAPE '!' ('role', 'app', false)",
    "--x\rRESET ROLE",
    "SET ROLE postgres",
    "set role none",
    "SET LOCAL ROLE NONE",
    "SET SESSION ROLE postgres",
    "SET role = 'postgres'",
    'SET LOCAL "role" TO postgres',
    'SET LOCAL U&"rol\\0065" TO postgres',
    "SET/**/LOCAL/**/ROLE/**/NONE",
    "SET --\nLOCAL --\nROLE NONE",
    "RESET ROLE",
    "RESET ALL",
    "RESET SESSION AUTHORIZATION",
    "SET SESSION AUTHORIZATION postgres",
    "SET LOCAL SESSION AUTHORIZATION DEFAULT",
    "SET LOCAL session_authorization = postgres",
    "DISCARD ALL",
    "discard plans",
    "SET tenantcollect.tenant_id = 'globex'",
    "SET LOCAL tenantcollect.tenant_id TO 'globex'",
    "SET SESSION TenantCollect.Tenant_Id = 'globex'",
    'SET LOCAL "tenantcollect"."tenant_id" = \'globex\'',
    "SET LOCAL \"tenantcollect.tenant_id\" = 'globex'",
    "SET LOCAL tenantcollect . tenant_id = 'globex'",
    "SELECT 1; SET LOCAL tenantcollect.tenant_id = 'globex'; SELECT 2",
    "SELECT set_config('tenantcollect.tenant_id', 'globex', true)",
    "SELECT pg_catalog.SET_CONFIG ( 'role' , 'postgres' , true )",
    "SELECT \"set_config\"('session_authorization', 'postgres', true)",
    "SELECT set_config(/* which? */ 'role', 'postgres', true)",
    "SELECT set_config('ro' || 'le', 'postgres', true)",
    "SELECT set_config(E'\\x72ole', 'postgres', true)",
    "SELECT set_config($$role$$, 'postgres', true)",
    "SELECT set_config(%(name)s, %(value)s, true)",
    "SELECT set_config(setting_name => 'role', new_value => 'postgres', is_local => true)",
    "WITH x AS (SELECT set_config('tenantcollect.tenant_id', 'globex', true)) SELECT * FROM t, x",
    "INSERT INTO t SELECT set_config('role', 'postgres', true)",
    "PREPARE p AS SELECT set_config('role', $1, true)",
    "SELECT set_config('app.actor', 'x', true), set_config('role', 'postgres', true)",
    "SELECT set_config('app.actor', 'x', false), set_config('app.actor', 'y', true)",
    "SELECT set_config('app.actor', coalesce('x', 'y'), false)",
    "SELECT set_config('role', coalesce('x', 'y'), true)",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; SET search_path TO crm",
    "SET search_path TO crm",
    "SET SESSION work_mem = '8MB'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SELECT set_config('search_path', 'crm', false)",
]
HARMLESS = [
    "SELECT 'COMMIT'",
    "SELECT 1 AS \"COMMIT\"; SELECT ';COMMIT;'",
    "INSERT INTO t (note) VALUES ('x; SET ROLE postgres; y')",
    "INSERT INTO t (note) VALUES ($x$; COMMIT; $x$)",
    "UPDATE t SET role = 'admin' WHERE id = 1;",
    "INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET role = excluded.role",
    "SELECT 1 -- ; COMMIT",
    "SELECT 1 /* ; COMMIT /* ; */ ; ROLLBACK */",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "ROLLBACK WORK TO SAVEPOINT a",
    "RELEASE a",
    "SET LOCAL work_mem = '8MB'",
    "SET LOCAL search_path TO crm, public",
    "SET LOCAL app.actor TO 'collector'",
    "SET CONSTRAINTS ALL DEFERRED",
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SELECT set_config('app.actor', 'collector', true)",
    "SELECT set_config('statement_timeout', %(timeout)s::VARCHAR, true)",
    "SELECT set_config('app.actor', CAST(%(actor)s AS text), true)",
    "SELECT set_config('session.actor', coalesce(%s, 'nobody', '()'), true), 1",
    "SELECT set_config FROM t",
    "ALTER USER MAPPING FOR app SERVER s OPTIONS (SET name 'x')",
    "COPY t FROM STDIN",
    "CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET n = 1; DELETE FROM u; END",
    "CREATE TEMP TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET n = 1; END",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;",
    "-- one\n/* two */ CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; SELECT f()",
    "SELECT 1; CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC INSERT INTO t VALUES (1); END",
    "",
]


@pytest.mark.parametrize("statement", ENDINGS)
def test_what_ends_the_transaction_is_refused(statement: str) -> None:
    """However it is written, and whatever stands before it in the same text."""
    found = refusal(statement)
    assert found is not None
    assert found.error is TransactionBroken


@pytest.mark.parametrize("statement", LEAVINGS)
def test_what_leaves_the_tenant_the_role_or_the_window_is_refused(statement: str) -> None:
    """G4: the tenant setting and the role are ours, and no setting may outlive the window in a pooled connection."""
    found = refusal(statement)
    assert found is not None
    assert found.error is IsolationRefused


@pytest.mark.parametrize("statement", HARMLESS)
def test_what_only_looks_dangerous_is_sent(statement: str) -> None:
    """Texts, comments, savepoints, columns with such a name, settings of this transaction."""
    assert refusal(statement) is None


def test_a_large_statement_is_judged_quickly() -> None:
    """The rows of a large batch are not read: their statement is known by its first word."""
    import timeit

    batch = "INSERT INTO t VALUES " + ", ".join(f"(%(a__{n})s, %(b__{n})s)" for n in range(10_000))
    assert min(timeit.repeat(lambda: refusal(batch), number=1, repeat=5)) < 0.02


def test_a_large_literal_is_judged_in_little_memory() -> None:
    """Also one that has to be read, because a semicolon stands in it: no more than a few copies of the statement."""
    statement = f"INSERT INTO t VALUES ('{'x' * 1_000_000};')"
    tracemalloc.start()
    try:
        assert refusal(statement) is None
        assert tracemalloc.get_traced_memory()[1] < 10 * len(statement)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opening", ["'", '"', "$$", "/*", "E'", "$a$"])
def test_what_is_never_closed_is_judged_all_the_same(opening: str) -> None:
    """The server will refuse it; the judge must only come to an end."""
    assert refusal(f"SELECT {opening} x") is None
    assert refusal(f"COMMIT {opening} x") is not None
