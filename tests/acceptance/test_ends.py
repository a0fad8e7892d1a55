"""X09, X10, X11, X13: a process that is told to end, told twice, or killed, leaves nothing that stands in the way."""

import signal
import time
from collections.abc import Callable

import psutil
import pytest

from .conftest import Bench

EXECUTORS = pytest.mark.parametrize("executor", ["threads", "processes"])


def begun(bench: Bench, executor: str, *words: str, pause: str) -> tuple[psutil.Popen, list[psutil.Process]]:
    """A run in the middle of a window, and the children it has by then."""
    bench.call("config", "set", "acme", "acme", "TOKEN=good", "--secret", "TOKEN")
    environ = {"ACME_PAUSE": pause, "ACME_DAYS": "8", "ACME_BEGUN": str(bench.folder / "begun")}
    process = bench.start("run", "--executor", executor, "--lease-ttl", "2", *words, **environ)
    until((bench.folder / "begun").exists)
    return process, psutil.Process(process.pid).children(recursive=True)


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for ``true``, as long as a loaded machine may need."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def nobody_holds(bench: Bench) -> bool:
    """Whether no lease is held and no window open."""
    held = bench.rows("SELECT 1 FROM tenantcollect_data_source_lease WHERE token IS NOT NULL")
    return not held and not bench.rows("SELECT 1 FROM tenantcollect_data_source_run WHERE open_window_id IS NOT NULL")


@EXECUTORS
def test_x09_the_first_signal_lets_open_windows_finish(bench: Bench, executor: str) -> None:
    """SIGTERM: nothing more is claimed, what is open is sealed, leases and children are gone, nothing is lost."""
    process, children = begun(bench, executor, "--json", pause="0.3")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, out + err
    assert "stopping" in err
    assert nobody_holds(bench)
    assert psutil.wait_procs(children, timeout=30)[1] == []
    done = bench.rows("SELECT status FROM tenantcollect_data_source_run_history")
    assert {row.status for row in done} == {"COMPLETED"}
    bench.call("run", ACME_DAYS="8")
    bench.facts_are_exact()


@EXECUTORS
def test_x09_windows_that_do_not_end_within_the_grace_are_given_up(bench: Bench, executor: str) -> None:
    """After the grace the process ends all the same; the window was no failure, and is collected by the next run."""
    process, children = begun(bench, executor, "--grace", "0.5", pause="100")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, out + err
    assert psutil.wait_procs(children, timeout=30)[1] == []
    until(lambda: nobody_holds(bench))
    failures = bench.rows("SELECT failures FROM tenantcollect_data_source_run")
    assert {row.failures for row in failures} == {0}
    bench.call("run", ACME_DAYS="8")
    bench.facts_are_exact()


@EXECUTORS
@pytest.mark.parametrize("how", ["x10_second_signal", "x11_killed"])
def test_a_process_that_ends_at_once_leaves_no_orphan(bench: Bench, executor: str, how: str) -> None:
    """A second signal, or kill -9: its children end too, its keys are free after the TTL, nothing is doubled."""
    process, children = begun(bench, executor, pause="100")
    if how == "x11_killed":
        process.kill()
    else:
        process.send_signal(signal.SIGTERM)
        line = process.stderr.readline() + process.stderr.readline() if process.stderr else ""
        assert "stopping" in line
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == (-9 if how == "x11_killed" else 143)
    assert psutil.wait_procs(children, timeout=30)[1] == []

    def free() -> bool:
        report = bench.json("run", "--lease-ttl", "2", ACME_DAYS="8")
        return not report["windows"]["busy"] and not report["windows"]["completed"]

    until(free, seconds=100)
    bench.facts_are_exact()
    left = bench.rows("SELECT status FROM tenantcollect_data_source_run_history WHERE status = 'ABANDONED'")
    assert len(left) >= 1
