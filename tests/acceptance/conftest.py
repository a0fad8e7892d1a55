"""An installed third-party package, a database, and the command line in processes of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

PLUGIN = '''
"""A chain of three collectors that keep one row per call, so that whatever happens twice is seen."""
import os, time
from datetime import timedelta
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
        status = {(r["tenant_id"], r["script"]): r for r in self.json("status", code=(0, 3))["rows"]}
        for (tenant, script), row in status.items():
            found = self.rows(
                "SELECT window_start, window_end, part FROM acme_fact "
                f"WHERE tenant_id = '{tenant}' AND script = '{script}' ORDER BY window_start, part"
            )
            parts = [(datetime.fromisoformat(a), datetime.fromisoformat(b), part) for a, b, part in found]
            assert [p for *_, p in parts] == [1, 2] * (len(parts) // 2), f"{tenant} {script}: doubled or partial"
            windows = [(a, b) for a, b, part in parts if part == 1]
            assert all(b == c for (_, b), (c, _) in pairwise(windows)), f"{tenant} {script}: gap"
            covered = [[datetime.fromisoformat(a), datetime.fromisoformat(b)] for a, b in row["coverage"]]
            assert covered == ([[windows[0][0], windows[-1][1]]] if windows else []), f"{tenant} {script}: coverage"
            sealed = self.json("history", tenant, "acme", script, "--limit", "1000")["rows"]
            assert sum(r["status"] == "COMPLETED" for r in sealed) == len(windows), f"{tenant} {script}: history"

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
