"""What every collector must hold, whatever it collects; subclassed in a collector's own tests (floor: testing)."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest

from tenantcollect.errors import ConfigurationError, PluginError
from tenantcollect.registry import Registry
from tenantcollect.testing.case import Case, described
from tenantcollect.testing.collector import CollectorHarness
from tenantcollect.testing.stored import Seed, holds_instants
from tenantcollect.testing.tenancy import Tenancy
from tenantcollect.windows import Window

__all__ = ["CollectorTests"]

OURS, COLUMN = "acme", "tenant_id"
THEIRS = 'Ö\'Neil & "Söhne" 100% %s ' + 10 * "und Töchter "
"""As untame as tenant ids may be; cut where the column is short."""
SEE_HOOKS = "its hooks are not sound: see test_hooks_are_sound"
SEE_WINDOW = "its window could not be collected: see test_the_window_is_collected"


class CollectorTests:
    """What a suite of collectors is told, and the case that each of its tests begins with."""

    collectors: ClassVar[Mapping[str, object]]
    """As for ``connect(collectors=…)``: the data source and its scripts, by name."""
    window: ClassVar[Window]
    """A window in which the data source, real or fake, has data for every script."""
    seed: ClassVar[Seed | None] = None
    """Rows that are there before, if the scripts depend on those of another package; or a method that writes them."""
    dated: ClassVar[Mapping[str, str]] = {}
    """Table name → the column whose time says into which window a row belongs; without it, nobody can know."""
    volatile: ClassVar[frozenset[str]] = frozenset()
    """Columns that are meant to change at each run, unless they are times that a default of the column fills."""
    short: ClassVar[frozenset[str]] = frozenset()
    """Scripts that end within seconds, and so need not ask whether they were cancelled."""
    tenant_id: ClassVar[str] = OURS
    """Whom the windows are collected for; default: acme."""
    tenant_column: ClassVar[str] = COLUMN
    """The column that says whose row it is; default: tenant_id."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Each test once per script, or once per data source."""
        names = getattr(self, "collectors", {})
        if not any("." in name for name in names) or not isinstance(getattr(self, "window", None), Window):
            raise pytest.UsageError(
                f"{type(self).__name__} must name its collectors, such as "
                '{"github": source, "github.commit": commit}, and its window = Window(start, end)'
            )
        if "script" in metafunc.fixturenames:
            metafunc.parametrize("script", [name for name in names if "." in name])
        if "data_source" in metafunc.fixturenames:
            metafunc.parametrize("data_source", sorted({name.partition(".")[0] for name in names}))

    @pytest.fixture
    def env(self) -> Mapping[str, str]:
        """What a tenant configures; override it."""
        pytest.fail(
            "The suite needs an env: write a fixture env(self) in your class that returns the tenant's settings, "
            "with the address of your fake"
        )

    @pytest.fixture
    def other_env(self) -> Mapping[str, str] | None:
        """What the other tenant configures, if your fake admits it and has other data for it."""
        return None

    @pytest.fixture
    def database_url(self) -> str | None:
        """A fresh database; None = SQLite. Return ``tenantcollect_postgresql_url`` to test on PostgreSQL."""
        return None

    @pytest.fixture
    def harness(self, database_url: str | None) -> Iterator[CollectorHarness]:
        """A database with the tables of the collectors."""
        with CollectorHarness(self.collectors, history_start=self.window.start, url=database_url) as harness:
            yield harness

    @pytest.fixture
    def tenancy(self, harness: CollectorHarness) -> Tenancy:
        """Our tenant, and the other."""
        columns = [table.columns.get(self.tenant_column) for table in harness.tables_by_name.values()]
        sizes = [getattr(column.type, "length", None) for column in columns if column is not None]
        other = THEIRS[: min(filter(None, sizes), default=len(THEIRS))].rstrip()
        return Tenancy(tenant_id=self.tenant_id, other=other, column=self.tenant_column)

    @pytest.fixture
    def case(self, harness: CollectorHarness, script: str, env: Mapping[str, str], tenancy: Tenancy) -> Case:
        """The script with its upstreams collected; skipped where another test says what is wrong."""
        case = self._begun(harness, script, env, tenancy)
        if case.whole.error is not None or not case.written() or self._mistaken(harness):
            pytest.skip(SEE_WINDOW)
        return case

    def _begun(self, harness: CollectorHarness, script: str, env: Mapping[str, str], tenancy: Tenancy) -> Case:
        if problem := hook_problem(harness.registry, script, env, seeded=self.seed is not None):
            pytest.skip(f"{SEE_HOOKS} ({problem})")
        if self.seed is not None:
            harness.seed(self.seed)
        self._collect_above(harness, script, env, tenancy.tenant_id)
        before = harness.rows()
        whole = harness.run(script, self.window, env=env, tenant_id=tenancy.tenant_id)
        return Case(
            harness=harness,
            script=script,
            window=self.window,
            env=env,
            tenancy=tenancy,
            volatile=self.volatile,
            before=before,
            whole=whole,
            points=list(harness.watched.points),
        )

    def _collect_above(self, harness: CollectorHarness, script: str, env: Mapping[str, str], tenant_id: str) -> None:
        """Collect the upstreams of a script, those first on which the others depend."""
        graph = harness.registry.graph(harness.registry.data_sources())
        above = set(graph.ancestors(script))
        for name in [name for name in graph.order if name in above]:
            upstream = harness.run(name, self.window, env=env, tenant_id=tenant_id)
            if upstream.error is not None:
                pytest.skip(f"its upstream {name} could not be collected ({described(upstream.error)})")

    def _mistaken(self, harness: CollectorHarness) -> str | None:
        """Which attribute names what is not there, so that its rule would hold for nothing."""
        tables, name = harness.tables_by_name, type(self).__name__
        columns = {column.key for table in tables.values() for column in table.columns}
        told: tuple[object, ...] = (self.dated, self.volatile, self.short)
        if not isinstance(told[0], Mapping) or any(isinstance(names, str) for names in told):
            return f"{name}: dated is a dict of table to column, short and volatile are sets of names"
        for table, column in self.dated.items():
            if table not in tables or column not in tables[table].columns:
                return f"{name}.dated names {table}.{column}; tables() has {', '.join(tables) or 'none'}"
            if holds_instants(tables[table].columns[column].type) is None:
                return f"{name}.dated names {table}.{column}, which holds no date and time, so that nothing is known"
        if unknown := {*self.volatile, *([self.tenant_column] if tables else [])} - columns:
            return f"{name}: no table has the column {min(unknown)}; see volatile, tenant_column"
        if unknown := set(self.short) - set(self.collectors):
            return f"{name}.short names {min(unknown)}, which is none of its collectors"
        return None


def hook_problem(registry: Registry, script: str, env: Mapping[str, str], *, seeded: bool) -> str | None:
    """What is wrong with a script's hooks, with the cure, or None."""
    try:
        collector = registry.collector(script)
        registry.validate(collector.data_source, env)
    except PluginError as error:
        return str(error)
    except ConfigurationError as error:
        return f"the suite's env does not fit what config() declares: {error}"
    return _graph_problem(registry.graph(registry.data_sources()), script, seeded=seeded)


def _graph_problem(graph: Any, script: str, *, seeded: bool) -> str | None:
    problem: str | None = graph.problems.get(script)
    if problem is None or (seeded and "which no collector" in problem):
        return None
    return f"{problem}; or put that collector into `collectors`, or the rows it would have written into `seed`"
