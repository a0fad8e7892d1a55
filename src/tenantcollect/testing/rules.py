"""The rules of a collector, one test each; a failure says what to do (floor: testing)."""

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import count

import pytest

from tenantcollect.collectors import Collector
from tenantcollect.errors import WindowCancelled
from tenantcollect.testing.case import Case, Tenancy, described, require
from tenantcollect.testing.collector import CollectorHarness
from tenantcollect.testing.collectors import SEE_HOOKS, CollectorTests, hook_problem
from tenantcollect.testing.crashes import LOOKS, At, CrashAt
from tenantcollect.testing.finding import only
from tenantcollect.testing.leaks import made_up, places, secrets_of
from tenantcollect.testing.zones import local_zone
from tenantcollect.windows import Window

__all__ = ["CollectorSuite"]

FAR_EAST = "Asia/Kolkata"
"""Half an hour off every full hour, and never UTC."""


class CollectorSuite(CollectorTests):
    """Subclass it, name ``collectors`` and ``window``, and override the fixture ``env``::

        class TestGitHub(CollectorSuite):
            collectors = {"github": source, "github.commit": commit}
            window = Window(datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 8, tzinfo=UTC))
            dated = {"github_commit": "committed_at"}

            @pytest.fixture
            def env(self, fake_github):
                return {"GITHUB_TOKEN": "a-token-for-tests", "GITHUB_URL": fake_github.url}

    Each test runs once per script, on its own database, after the script's upstreams have been collected.
    """

    def test_hooks_are_sound(self, script: str, env: Mapping[str, str]) -> None:
        """The hooks load, the env fits config(), and every dependency is there."""
        problem = hook_problem(only(self.collectors), script, env, seeded=self.seed is not None)
        require(problem is None, str(problem))

    def test_the_window_is_collected(
        self, harness: CollectorHarness, script: str, env: Mapping[str, str], tenancy: Tenancy
    ) -> None:
        """The script collects its window without an error, and some rows with it."""
        case = self._begun(harness, script, env, tenancy)
        require(case.whole.error is None, f"{script} failed in {self.window}: {described(case.whole.error)}")
        require(
            case.written(),
            f"{script} wrote nothing in {self.window}; name a window in which your fake has data for it, "
            "or the other tests prove nothing",
        )

    def test_running_again_changes_nothing(self, case: Case) -> None:
        """The same window twice gives the same rows: a window that was killed is run again."""
        cure = (
            "use upsert() with a primary key that the data source gives, not one that is counted or random; "
            "a column that is meant to change belongs into `volatile`"
        )
        case.fresh()
        for _ in range(2):
            again = case.run()
            require(again.error is None, f"run a second time, {case.script} failed; {cure}\n{described(again.error)}")
            require(not (wrong := case.differs(again.rows)), f"run a second time, {wrong}; {cure}")
            case.harness.forget(case.script, case.tenancy.tenant_id)

    def test_windows_are_half_open(self, case: Case) -> None:
        """Two adjacent windows give what one big window gives: nothing at the boundary is lost, or in both."""
        collector = windowed(case)
        for boundary in self._boundaries(case):
            for part in (Window(self.window.start, boundary), Window(boundary, self.window.end)):
                case.fresh()
                told = max(part.start - collector.options.lookback, self.window.start)
                require(not (wrong := self._misplaced(case, part, told)), str(wrong))
            case.fresh()
            self._adjacent(case, boundary, backwards=False)

    def test_windows_come_in_any_order(self, case: Case) -> None:
        """The later window first gives the same rows: a hole is filled when the source answers again."""
        windowed(case)
        if case.whole.cursor is not None:
            pytest.skip("a script with a cursor goes forward only")
        for boundary in self._boundaries(case):
            case.fresh()
            self._adjacent(case, boundary, backwards=True)

    def test_times_are_utc(self, case: Case) -> None:
        """Every time that is written is aware and in UTC, wherever the process runs."""
        case.fresh()
        case.run()
        wrong = case.harness.watched.moments.wrong
        require(not wrong, f"{case.script} wrote {len(wrong)} times that are not UTC, such as {''.join(wrong[:1])}")
        with local_zone(FAR_EAST):
            case.fresh()
            elsewhere = case.run()
        cure = "never use datetime.now() or fromtimestamp() without UTC, nor .timestamp() of a naive datetime"
        where = f"with TZ={FAR_EAST}"
        require(elsewhere.error is None, f"{where}, {case.script} failed; {cure}\n{described(elsewhere.error)}")
        require(not (wrong_rows := case.differs(elsewhere.rows)), f"{where}, {wrong_rows}; {cure}")

    def test_tenants_stay_apart(self, case: Case) -> None:
        """Beside the rows of another tenant the script writes its own rows, and touches no others."""
        tenancy, tables = case.tenancy, case.harness.tables_by_name
        shared = [name for name in case.written() if tenancy.column not in tables[name].primary_key.columns]
        require(
            not shared,
            f"{', '.join(shared)}: {tenancy.column} is no part of the primary key, so that one tenant's row "
            "replaces another's; put it there",
        )
        theirs = tenancy.foreign(case.whole.rows, tables)
        case.fresh({name: [*rows, *theirs[name]] for name, rows in case.before.items()})
        beside = case.run()
        require(
            beside.error is None,
            f"beside the rows of another tenant {case.script} failed; "
            f"select its upstream rows with .where(table.c.{tenancy.column} == tenant_id)\n{described(beside.error)}",
        )
        require(
            not (wrong := case.differs(tenancy.of(tenancy.other, beside.rows), theirs)),
            f"running for {tenancy.tenant_id!r}, {case.script} changed rows of {tenancy.other!r}: {wrong}; "
            f"every DELETE and UPDATE needs .where(table.c.{tenancy.column} == tenant_id), every row tenant_id",
        )
        ours = tenancy.of(tenancy.tenant_id, case.whole.rows)
        require(
            not (wrong := case.differs(tenancy.of(tenancy.tenant_id, beside.rows), ours)),
            f"beside the rows of another tenant {case.script} wrote other rows: {wrong}; "
            f"select its upstream rows with .where(table.c.{tenancy.column} == tenant_id)",
        )
        self._other_tenant(case)

    def _other_tenant(self, case: Case) -> None:
        """With the very same data, the other tenant gets the very same rows beside ours."""
        tenancy, before = case.tenancy, case.tenancy.moved(case.before)
        case.fresh({name: [*rows, *before[name]] for name, rows in case.whole.rows.items()})
        other = case.run(tenant_id=tenancy.other)
        require(other.error is None, f"for another tenant {case.script} failed: {described(other.error)}")
        expected = {name: [*rows, *tenancy.moved(case.whole.rows)[name]] for name, rows in case.whole.rows.items()}
        require(
            not (wrong := case.differs(other.rows, expected)),
            f"running for {tenancy.other!r} with the same data as {tenancy.tenant_id!r}, {wrong}; "
            "write the tenant_id that run() is given, and keep nothing of one tenant in a variable of the module",
        )

    def test_no_secret_leaks(
        self, case: Case, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """No secret of the env stands in rows, cursor, warnings, errors, logs or output, also when it is refused."""
        if not secrets_of(case):
            pytest.skip("the env has no secret")
        for env in filter(None, (case.env, made_up(case))):
            case.fresh()
            caplog.clear()
            capsys.readouterr()
            with caplog.at_level(logging.DEBUG):
                collected = case.run(env=env)
            printed = "".join(capsys.readouterr())
            secrets = {key: env[key] for key in secrets_of(case)}
            found = list(places(case, collected, secrets, caplog.text, printed))
            require(not found, "; ".join(found))

    def test_a_cancelled_window_ends(self, case: Case) -> None:
        """A window that is told to end does so at its next look, and keeps nothing."""
        looks = sum(point in LOOKS for point in case.points)
        require(
            looks or case.script in self.short,
            f"{case.script} never looks whether it was cancelled: call context.raise_if_cancelled() in its "
            "loops; if it is one quick request, name it in `short`",
        )
        case.fresh()
        unheard = case.run(at=At("returned", case.harness.cancel))
        self._kept(case, unheard.rows, "it was cancelled")
        for number in sorted({1, (looks + 1) // 2, looks} - {0}):
            self._cancelled_at(case, number)

    def _cancelled_at(self, case: Case, number: int) -> None:
        """Cancel at the numbered look, if there is one: a script that has cached something may look less often."""
        looks = count(1)

        def cancel(point: str) -> None:
            if point in LOOKS and next(looks) == number:
                case.harness.cancel()

        case.fresh()
        ended = case.run(at=cancel)
        if next(looks) <= number:
            return
        require(
            "returned" not in case.harness.watched.points,
            f"{case.script} went on after it was cancelled: let WindowCancelled go, "
            "an `except Exception` around the loop must raise it again",
        )
        require(
            isinstance(ended.error, WindowCancelled),
            f"{case.script} turned the cancellation into {described(ended.error)}: let WindowCancelled go",
        )
        self._kept(case, ended.rows, "it was cancelled")

    def _kept(self, case: Case, rows: dict[str, list[dict[str, object]]], why: str) -> None:
        """Nothing is kept of a window that did not end well, unless a checkpoint made it durable."""
        if "checkpoint" in case.points:
            return
        wrong = case.differs(rows, case.before)
        require(not wrong, f"{case.script} kept rows although {why}: {wrong}; write through db only")

    def test_a_crash_loses_nothing(self, case: Case) -> None:
        """Wherever the process dies in the window, the next holder ends with the same rows."""
        for point in dict.fromkeys(case.points):
            case.fresh()
            crashed = case.run(at=CrashAt(point))
            if point != "after_commit":
                self._kept(case, crashed.rows, f"the process died at {point}")
            done = case.finish()
            require(done is None, f"after a crash at {point} {case.script} failed: {described(done)}")
            wrong = case.differs(case.harness.rows())
            require(
                not wrong,
                f"after a crash at {point} and a second run, {wrong}; keep nothing in variables of the module: "
                "what was seen before the crash may never have been committed",
            )

    def test_a_lost_lease_writes_nothing(self, case: Case) -> None:
        """While another holder collects the window, ours may go on, but nothing of it is kept."""
        for point in dict.fromkeys(case.points[: case.points.index("returned")]):
            case.fresh()
            overtakers: list[BaseException | None] = []
            ours = case.run(at=At(point, lambda: self._take_over(case, overtakers)))  # noqa: B023 - called now
            if not overtakers:
                continue
            lost = f"when the lease was lost at {point}"
            require(overtakers[0] is None, f"{lost}, {case.script} failed for the other: {described(overtakers[0])}")
            require(ours.error is not None, f"{lost}, {case.script} swallowed LeaseLost: let errors of checkpoint() go")
            wrong = case.differs(ours.rows)
            require(not wrong, f"{lost}, {wrong}; write through db only, and share nothing between two runs")

    def _take_over(self, case: Case, overtakers: list[BaseException | None]) -> None:
        """Let another holder finish the window, once, if ours has not begun to write."""
        harness, tenant_id = case.harness, case.tenancy.tenant_id
        for window in harness.rest(case.script, self.window, tenant_id):
            if not overtakers and not harness.writing:
                done = harness.take_over(case.script, window, env=case.env, tenant_id=tenant_id)
                overtakers.append(done.error)

    def test_erase_deletes_one_tenant_only(
        self, harness: CollectorHarness, data_source: str, env: Mapping[str, str], tenancy: Tenancy
    ) -> None:
        """erase() deletes every row of its tenant, and none of another."""
        if any(hook_problem(harness.registry, name, env, seeded=True) for name in self.collectors if "." in name):
            pytest.skip(SEE_HOOKS)
        if self.seed is not None:
            harness.seed(self.seed)
        for name in harness.registry.graph([data_source]).order:
            harness.run(name, self.window, env=env, tenant_id=tenancy.tenant_id)
        rows = harness.rows()
        theirs = tenancy.foreign(rows, harness.tables_by_name)
        harness.put_back({name: [*some, *theirs[name]] for name, some in rows.items()})
        if not harness.erase(data_source, tenancy.tenant_id):
            pytest.skip("there is no erase(); a tenant that leaves leaves its rows behind")
        left = harness.rows()
        kept = [name for name, some in tenancy.of(tenancy.tenant_id, left).items() if some]
        require(not kept, f"erase() left rows of its tenant in {', '.join(kept)}; it has to empty every table of it")
        gone = [name for name, some in theirs.items() if len(left[name]) != len(some)]
        require(not gone, f"erase() deleted rows of another tenant from {', '.join(gone)}: add .where(tenant_id)")

    def _boundaries(self, case: Case) -> list[datetime]:
        """Where to cut the window: exactly at a time that stands in a row, where there is one; and in the middle."""
        start, end = self.window.start, self.window.end
        found = sorted({time for time in self._times(case) if start < time < end})
        middle = start + (end - start) / 2
        return [*found[len(found) // 2 : len(found) // 2 + 1], middle]

    def _times(self, case: Case) -> Iterator[datetime]:
        for name in case.written():
            for row in case.whole.rows[name]:
                column = self.dated.get(name)
                times = [row[column]] if column else list(row.values())
                yield from (time for time in times if isinstance(time, datetime) and time.tzinfo is not None)

    def _misplaced(self, case: Case, part: Window, told: datetime) -> str | None:
        """What a part of the window wrote that belongs into another, or did not write that belongs here."""
        found = case.run(part)
        if found.error is not None:
            return f"{case.script} failed in {part}: {described(found.error)}"
        for name, column in self.dated.items():
            new = [row for row in found.rows[name] if row not in case.before[name] and row[column] is not None]
            late = next((row for row in new if not told <= row[column] < part.end), None)
            if late is not None:
                return (
                    f"{case.script} wrote into {name} what does not belong into {part}, such as {late}; "
                    f"take `start_date <= item.{column} < end_date`, without the end"
                )
            wanted = [row for row in case.whole.rows[name] if row not in case.before[name] and row[column] is not None]
            there = {row[column] for row in found.rows[name]}
            lost = next(
                (row for row in wanted if part.start <= row[column] < part.end and row[column] not in there), None
            )
            if lost is not None:
                return f"{case.script} lost what belongs into {part}, such as {lost}; the start is part of the window"
        return None

    def _adjacent(self, case: Case, boundary: datetime, *, backwards: bool) -> None:
        parts = [Window(self.window.start, boundary), Window(boundary, self.window.end)]
        for part in reversed(parts) if backwards else parts:
            done = case.run(part)
            require(done.error is None, f"{case.script} failed in {part}: {described(done.error)}")
        order = "the later first" if backwards else "one after the other"
        wrong = case.differs(case.harness.rows())
        require(
            not wrong,
            f"two windows that meet at {boundary.isoformat()}, {order}, give other rows than one: {wrong}; "
            "take `start_date <= item.date < end_date`, and merge with what is there instead of replacing it",
        )


def windowed(case: Case) -> Collector:
    """The case's collector; skipped if it knows no windows."""
    collector = case.harness.collector(case.script)
    if collector.options.snapshot:
        pytest.skip("a snapshot knows no windows")
    return collector
