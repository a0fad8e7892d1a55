"""G4 and PROTOCOL 6: whatever a collector does in a child process costs only its own window."""

import logging
import threading
from collections.abc import Iterator

import psutil
import pytest
import sqlalchemy as sa

from tenantcollect import Orchestrator
from tenantcollect.contrib.processes import Processes
from tests.processes import hostile

GOOD = ("behave", "leave_a_thread", "leave_a_process", "fork", "print_much", "signal_its_group")
BAD = {
    "hang_in_c": "WindowTimedOut",
    "ignore_sigterm": "WindowTimedOut",
    "exit": "(exit code 7)",
    "segfault": "SIGSEGV",
    "sys_exit": "SystemExit",
    "exit_quietly": "(exit code 0)",
    "be_signalled": "(signal ",
    "eat_memory": "MemoryError",
    "eat_slowly": "MemoryError",
    "close_all_files": "",
    "raise_base": "LastStraw: enough",
    "raise_without_text": "NoText: (its message cannot be written)",
    "leave_no_recursion": "RecursionError",
}
TELLING = ("hang_in_c", "exit", "eat_slowly", "close_all_files", "leave_no_recursion")
"""Those that the database has a part in; the others are the same on each."""


@pytest.fixture
def executor(importable: None) -> Iterator[Processes]:
    """Children with little memory."""
    with Processes(memory_limit=hostile.MEMORY) as executor:
        yield executor


@pytest.fixture
def orchestrator(database_url: str, executor: Processes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orchestrator]:
    """The host's app, whose children build the same."""
    monkeypatch.setenv("HOSTILE_DATABASE", database_url)
    with hostile.build(executor) as orchestrator:
        orchestrator.upgrade()
        yield orchestrator


def facts(database_url: str) -> dict[str, int]:
    """How many rows each tenant has; one that a window wrote twice is an error."""
    engine = sa.create_engine(database_url)
    try:
        with engine.connect() as connection:
            rows = connection.execute(sa.select(hostile.fact.c.tenant_id, hostile.fact.c.start)).all()
    finally:
        engine.dispose()
    assert len(set(rows)) == len(rows)
    return {tenant: sum(row.tenant_id == tenant for row in rows) for tenant in {row.tenant_id for row in rows}}


@pytest.mark.timeout(180)
def test_g4_every_hostile_kind_costs_only_its_own_window(
    orchestrator: Orchestrator, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The pass ends, the others complete, and each key says what happened to it."""
    bad = BAD if database_url.startswith("sqlite") else {deed: BAD[deed] for deed in TELLING}
    for deed in (*GOOD, *bad):
        orchestrator.configure(deed, "hostile", {"DEED": deed})
    with caplog.at_level(logging.WARNING):
        orchestrator.run()
    rows = {row.tenant_id: row for row in orchestrator.status()}
    assert {tenant: rows[tenant].status for tenant in GOOD} == dict.fromkeys(GOOD, "COMPLETED")
    assert {tenant: rows[tenant].reason for tenant in bad} == dict.fromkeys(bad, "backoff")
    wrong = {tenant: rows[tenant].error for tenant, words in bad.items() if words not in (rows[tenant].error or "")}
    assert wrong == {}
    newest_last = reversed(list(orchestrator.history(bad, limit=1000)))
    attempts = {row.tenant_id: (row.status, row.reason) for row in newest_last}
    assert attempts == dict.fromkeys(bad, ("FAILED", "backoff"))
    attempts = orchestrator.history(GOOD, limit=1000)
    assert {row.status for row in attempts} == {"COMPLETED"}
    assert facts(database_url) == dict.fromkeys(GOOD, hostile.DAYS)
    assert "[behave/hostile/item] at work" in caplog.text


def test_x13_nothing_is_left_when_the_executor_is_shut_down(orchestrator: Orchestrator, executor: Processes) -> None:
    """No child, no descendant of one and no thread of ours outlives the executor and the orchestrator."""
    before = {*threading.enumerate(), *_family()}
    for deeds in (("leave_a_thread", "leave_a_process"), ("behave",)):
        for deed in deeds:
            orchestrator.configure(deed, "hostile", {"DEED": deed})
        orchestrator.run()
    family = [one for one in _family() if one not in before]
    assert family  # the child that behaved waits for its next window
    executor.shutdown()
    orchestrator.close()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert {*threading.enumerate(), *_family()} - before == set()


def _family() -> list[psutil.Process]:
    """Every descendant of this process but the tracker that ``multiprocessing`` keeps until the interpreter ends."""
    family = psutil.Process().children(recursive=True)
    return [one for one in family if "resource_tracker" not in " ".join(_words(one))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
