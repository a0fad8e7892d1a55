"""Several processes at once, and processes that are killed: every window exactly once (G1, G2, G3, G8)."""

import random
import time

import pytest

from .conftest import Bench


def configure(bench: Bench, tenants: int) -> None:
    """Connect this many tenants to the chain."""
    lines = [f'[tenant.tenant{n}.acme]\nTOKEN = {{ secret = "good" }}' for n in range(tenants)]
    (bench.folder / "tenants.toml").write_text("\n".join(lines))
    bench.call("config", "import", "tenants.toml")


@pytest.mark.parametrize("processes", [2, 8])
def test_g3_processes_at_once_run_every_window_once(bench: Bench, processes: int) -> None:
    """However many passes overlap, the rows are those of one."""
    configure(bench, 3)
    running = [bench.start("run", "--json", ACME_DAYS="5") for _ in range(processes)]
    for process in running:
        out, err = process.communicate(timeout=110)
        assert process.returncode == 0, out + err
    bench.call("run", ACME_DAYS="5")
    bench.facts_are_exact()
    status = bench.json("status")["rows"]
    assert {row["status"] for row in status} == {"COMPLETED"}
    assert len(status) == 9
    assert all(row["windows_left"] == 0 for row in status)


def test_g2_killed_processes_leave_nothing_doubled_or_missing(bench: Bench) -> None:
    """kill -9 in mid-window, again and again; the passes after it finish what is left."""
    configure(bench, 3)
    rng = random.Random(20260501)
    for _ in range(4):
        running = [bench.start("run", "--lease-ttl", "2", ACME_DAYS="6", ACME_PAUSE="0.1") for _ in range(2)]
        bench.await_open_windows()
        time.sleep(rng.uniform(0.0, 0.5))
        for process in running:
            process.kill()
            process.communicate()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        report = bench.json("run", "--lease-ttl", "2", ACME_DAYS="6")
        if not report["windows"]["busy"] and not report["windows"]["completed"]:
            break
        time.sleep(0.2)
    bench.facts_are_exact()
    assert {row["status"] for row in bench.json("status")["rows"]} == {"COMPLETED"}
    assert any(row["status"] == "ABANDONED" for row in bench.json("history", "--limit", "1000")["rows"])


BROKEN = "raise RuntimeError('licence expired')"
LONELY = """
from tenantcollect import hookimpl
class Lonely:
    @hookimpl
    def dependencies(self): return ["nowhere"]
    @hookimpl
    def run(self, env): pass
class Ring:
    def __init__(self, other): self.other = other
    @hookimpl
    def dependencies(self): return [self.other]
    @hookimpl
    def run(self, env): pass
left, right = Ring("right"), Ring("left")
"""


def test_g7_each_trouble_is_named_and_its_cure_cures(bench: Bench, install_package) -> None:
    """A missing dependency, a cycle, a broken import and a bad key: named, explained, and nobody else is hurt."""
    install_package(
        "lonely",
        LONELY,
        "[tenantcollect.collectors]\nlonely.job = lonely:Lonely\nring.left = lonely:left\nring.right = lonely:right\n",
    )
    install_package("broken", BROKEN, "[tenantcollect.collectors]\nbroken.job = broken:Job\n")
    bench.call("config", "set", "fine", "acme", "TOKEN=good")
    bench.call("config", "set", "badkey", "acme", "TOKEN=bad")
    bench.call("config", "set", "missing", "lonely", "A=b")
    bench.call("config", "set", "cyclic", "ring", "A=b")
    bench.call("config", "set", "import", "broken", "A=b")
    bench.call("run", code=3)
    told = bench.call("plugins", code=3)
    assert "in a circle" in told
    assert "'nowhere'" in told
    assert "licence expired" in told
    assert "lonely.job: dependency_error" not in bench.call("explain", "missing")  # it is its own root cause
    rows = {(row["tenant_id"], row["script"]): row for row in bench.json("explain")["rows"]}
    assert rows["missing", "job"]["reason"] == "dependency_error"
    assert "nowhere" in rows["missing", "job"]["detail"]
    assert rows["cyclic", "left"]["reason"] == rows["cyclic", "right"]["reason"] == "dependency_error"
    assert rows["import", "job"]["reason"] == "collector_broken"
    assert "licence expired" in rows["import", "job"]["detail"]
    assert rows["badkey", "team"]["reason"] == "auth_failed"
    assert rows["badkey", "commit"]["root_cause"].startswith("acme.team: auth_failed")
    troubled = [row for row in rows.values() if row["tenant_id"] != "fine" and row["reason"] != "waiting_for_upstream"]
    assert all(row["action"] and row["root_cause"] for row in troubled)
    assert {r["status"] for r in bench.json("status", "fine")["rows"]} == {"COMPLETED"}
    bench.call("config", "set", "badkey", "acme", "TOKEN=good")
    (bench.folder / "broken.py").write_text(
        "from tenantcollect import hookimpl\nclass Job:\n    @hookimpl\n    def run(self, env): pass\n"
    )
    bench.call("config", "unset", "missing", "lonely")
    bench.call("config", "unset", "cyclic", "ring")
    bench.call("run")
    assert {r["status"] for r in bench.json("status", "badkey")["rows"]} == {"COMPLETED"}
    assert {r["status"] for r in bench.json("status", "import")["rows"]} == {"COMPLETED"}
