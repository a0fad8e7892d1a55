"""An installed third-party package, a database, and the command line in processes of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tenantcollect import connect

PLUGIN = '''
"""A chain of three collectors that keep one row per call, so that whatever happens twice is seen."""
import os, time
from datetime import timedelta
from pathlib import Path
import sqlalchemy as sa
from tenantcollect import AuthenticationError, CollectorOptions, hookimpl

metadata = sa.MetaData()
fact = sa.Table(
    "acme_fact", metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant_id", sa.Text), sa.Column("script", sa.Text),
    sa.Column("window_start", sa.Text), sa.Column("window_end", sa.Text), sa.Column("part", sa.Integer),
)
RANGE = timedelta(days=float(os.environ.get("ACME_DAYS", "20")))
PAUSE = float(os.environ.get("ACME_PAUSE", "0.01"))

class Source:
    @staticmethod
    @hookimpl
    def tables():
        return metadata

class Script:
    name, needs = "team", ()
    @hookimpl
    def dependencies(self):
        return list(self.needs)
    @hookimpl
    def options(self):
        return CollectorOptions(initial_range=RANGE)
    @hookimpl
    def run(self, env, db, tenant_id, start_date, end_date):
        if env.get("TOKEN") == "bad":
            raise AuthenticationError("the token was refused")
        for part in (1, 2):
            if "ACME_BEGUN" in os.environ:
                Path(os.environ["ACME_BEGUN"]).touch()
            db.execute(fact.insert().values(
                tenant_id=tenant_id, script=self.name, part=part,
                window_start=start_date.isoformat(), window_end=end_date.isoformat()))
            time.sleep(PAUSE)
        return 2

class Team(Script): pass
class Repository(Script):
    name, needs = "repository", ("team",)
class Commit(Script):
    name, needs = "commit", ("repository",)
'''
ENTRY_POINTS = """[tenantcollect.collectors]
acme = acme_chain:Source
acme.team = acme_chain:Team
acme.repository = acme_chain:Repository
acme.commit = acme_chain:Commit
"""


def install(folder: Path, module: str, code: str, entry_points: str) -> None:
    """Put a package with entry points into ``folder``, as pip would."""
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


class Bench:
    """One database, one folder of installed packages, and the processes that work on them."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.engine = sa.create_engine(url)
        self.environ = {
            **os.environ,
            "TENANTCOLLECT_DATABASE_URL": url,
            "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
            "COLUMNS": "200",
        }

    def start(self, *words: str, **environ: str) -> "subprocess.Popen[str]":
        """The command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "tenantcollect", *words],
            env={**self.environ, **environ},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *words: str, code: int | Sequence[int] = 0, **environ: str) -> str:
        """Run the command to its end, expect its exit code, return its output."""
        process = self.start(*words, **environ)
        out, err = process.communicate(timeout=110)
        expected = [code] if isinstance(code, int) else code
        assert process.returncode in expected, f"{words} ended with {process.returncode}\n{out}\n{err}"
        return out

    def json(self, *words: str, code: int | Sequence[int] = 0, **environ: str) -> Any:
        """The command's JSON."""
        return json.loads(self.call(*words, "--json", code=code, **environ))

    def rows(self, statement: str) -> list[Any]:
        """Rows of a select, read beside everything else."""
        with self.engine.connect() as connection:
            return list(connection.execute(sa.text(statement)))

    def facts_are_exact(self) -> None:
        """G1, G2, G3, G5 from the collector's own rows: nothing doubled, missing or partial; then ours agree."""
        with connect(self.url) as reader:
            for row in reader.status():
                found = self.rows(
                    "SELECT window_start, window_end, part FROM acme_fact "
                    f"WHERE tenant_id = '{row.tenant_id}' AND script = '{row.script}' ORDER BY window_start, part"
                )
                parts = [(datetime.fromisoformat(a), datetime.fromisoformat(b), part) for a, b, part in found]
                name = f"{row.tenant_id} {row.script}"
                assert [p for *_, p in parts] == [1, 2] * (len(parts) // 2), f"{name}: doubled or partial"
                windows = [(a, b) for a, b, part in parts if part == 1]
                assert all(b == c for (_, b), (c, _) in pairwise(windows)), f"{name}: gap or overlap"
                assert row.coverage == (((windows[0][0], windows[-1][1]),) if windows else ()), f"{name}: coverage"
                attempts = reader.history(row.tenant_id, "acme", row.script, limit=1000)
                assert sum(a.status == "COMPLETED" for a in attempts) == len(windows), f"{name}: history"

    def await_open_windows(self) -> None:
        """Wait until some process is at work on a window."""
        deadline = time.monotonic() + 60
        while not self.rows("SELECT 1 FROM tenantcollect_data_source_run WHERE open_window_id IS NOT NULL"):
            assert time.monotonic() < deadline, "no window was ever opened"
            time.sleep(0.02)

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Iterator[Bench]:
    """The chain installed, the schema made, on SQLite and on PostgreSQL."""
    install(tmp_path, "acme_chain", PLUGIN, ENTRY_POINTS)
    one = Bench(database_url, tmp_path)
    one.call("db", "upgrade")
    yield one
    one.close()


Install = Callable[[str, str, str], None]


@pytest.fixture
def install_package(bench: Bench) -> Install:
    """Installs one more package beside the chain: module, code, entry points."""
    return lambda module, code, entry_points: install(bench.folder, module, code, entry_points)
