"""What ``doctor`` looks at: the database, the clock, the plugins (floor: passes). It changes nothing.

Each probe is tried by itself: what one of them meets is a finding, and hides no other.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from attrs import define

from tenantcollect.catalog import Rotation
from tenantcollect.errors import (
    CatalogFailed,
    ConfigurationError,
    DatabaseUnavailable,
    SchemaNotCurrent,
    StorageError,
    TenantcollectError,
)
from tenantcollect.registry import ALLOW_LIST
from tenantcollect.reports import CollectorRow, FindingRow, Probe, Severity
from tenantcollect.secrets import Masker
from tenantcollect.survey import Survey
from tenantcollect.worker import error_text

if TYPE_CHECKING:
    from sqlalchemy import MetaData

__all__ = ["Diagnosis", "Doctor"]

NOTICEABLE = timedelta(seconds=5)
MOST_TOLD = 3
"""Values that cannot be decrypted and are named; of the others the number is told."""
ESSENTIAL = ("database", "schema")
"""Topics without which nothing can run."""
IN_OUR_TABLES = ("catalog", "rows", "secrets")
"""Topics that are asked of our tables, not only of the database."""
CURES: tuple[tuple[type[BaseException], str], ...] = (
    (DatabaseUnavailable, "see that it runs, and that the URL is right"),
    (SchemaNotCurrent, "run: tenantcollect db upgrade"),
    (CatalogFailed, "repair it where your application reads its tenants; run() cannot go on without it"),
    (StorageError, "mend what it names; the log of the database may say more"),
    (BaseException, "mend what it names; if that is nothing of yours, report it as a bug of tenantcollect"),
)
"""What to do about an error that a probe has met: the first that fits."""


class Diagnosis(Protocol):
    """What a backend that has a database can find out about it."""

    def probes(self, tables: "Mapping[str, MetaData]", used: Collection[str]) -> Mapping[str, Probe]:
        """Each topic with its probe; those of ``database`` and ``schema`` are called first.

        ``tables`` are those of the installed data sources, ``used`` those that tenants have, as is known when a later
        probe is called. Nothing is asked before.
        """
        ...


@define
class Doctor:
    """Examines one orchestrator's surroundings."""

    survey: Survey
    rotations: Callable[[], Iterable[Rotation]]
    diagnosis: Diagnosis | None

    def findings(self) -> Iterator[FindingRow]:
        """Everything that was looked at, also what is well; raises nothing.

        What only a database or tables that can be used could answer is not asked of others.
        """
        unusable: set[str] = set()
        for topic, probe in self._probes().items():
            if unusable.isdisjoint(ESSENTIAL if topic in IN_OUR_TABLES else ("database",)):
                found = _tried(topic, probe)
                yield from found
                unusable |= {finding.topic for finding in found if finding.severity == Severity.UNUSABLE}

    def _probes(self) -> Mapping[str, Probe]:
        if self.diagnosis is None:
            return {"plugins": self._plugins, "database": _elsewhere, "catalog": partial(self._catalog, set())}
        registry = self.survey.registry
        sources = [registry.source(name) for name in registry.data_sources() if registry.sound(name)]
        tables = {source.name: source.tables for source in sources if source.tables is not None}
        used = set(tables)
        probes = dict(self.diagnosis.probes(tables, used))
        return {
            "plugins": self._plugins,
            **{topic: probes.pop(topic) for topic in ESSENTIAL},
            "catalog": partial(self._catalog, used),
            **probes,
            "secrets": self._secrets,
            "clock": self._clock,
        }

    def _plugins(self) -> Iterator[FindingRow]:
        rows = self.survey.registry.rows()
        for row in rows:
            if row.error:
                yield FindingRow.problem("plugins", f"{row.name}: {row.error}", _cure_of(row))
        if excluded := self.survey.registry.excluded():
            yield FindingRow.ok("plugins", f"TENANTCOLLECT_PLUGINS leaves out {', '.join(excluded)}")
        sound = sum(row.error is None for row in rows)
        if sound:
            yield FindingRow.ok("plugins", f"{sound} collectors can be used")
        else:
            action = "install a package that has collectors, or give connect(collectors=…)"
            yield FindingRow.warning("plugins", "no collector can be used", action)

    def _catalog(self, used: set[str]) -> Iterator[FindingRow]:
        """Whether it can be asked which tenants there are, as a host's own may be down; narrows ``used`` to theirs."""
        self.survey.version()
        tenants = Counter(source.data_source for source in self.survey.sources(None))
        used.intersection_update(tenants)
        told = ", ".join(f"{source} for {count}" for source, count in sorted(tenants.items()))
        yield FindingRow.ok("catalog", f"tenants have configured: {told or 'nothing yet'}")

    def _secrets(self) -> Iterator[FindingRow]:
        """What whoever reads the database, or a backup of it, can read; and what nobody can read any more."""
        found, lost = Counter[str](), list[FindingRow]()
        try:
            for one in self.rotations():
                found.update(plain=one.plain, older=one.older, lost=len(one.unreadable))
                lost += islice(_lost(one), MOST_TOLD - len(lost))
        except SchemaNotCurrent:
            return
        except ConfigurationError as error:
            theirs = "catalog" in error.fields
            told, cure = str(error), "correct the cipher that connect() is given"
            yield FindingRow.ok("secrets", told) if theirs else FindingRow.problem("secrets", told, cure)
            return
        yield from lost
        if more := found["lost"] - len(lost):
            action = "see: tenantcollect config rotate-keys --dry-run"
            yield FindingRow.problem("secrets", f"{more} more secret values cannot be decrypted", action)
        if plain := found["plain"]:
            action = "give connect a cipher and run: tenantcollect config rotate-keys; or keep them in a vault"
            yield FindingRow.warning("secrets", f"{plain} secret values are stored as plaintext", action)
        if older := found["older"]:
            action = "run: tenantcollect config rotate-keys"
            yield FindingRow.warning("secrets", f"{older} secret values have an older key", action)
        if not any(found.values()):
            yield FindingRow.ok("secrets", "no secret value is stored as plaintext")

    def _clock(self) -> Iterator[FindingRow]:
        before = datetime.now(UTC)
        theirs = self.survey.state.now()
        after = datetime.now(UTC)
        distance = max(before - theirs, theirs - after, timedelta())
        told = f"the clock of this machine and that of the database are {distance.total_seconds():.1f} s apart"
        if distance < NOTICEABLE:
            yield FindingRow.ok("clock", told)
        else:
            action = "run NTP on both; tenantcollect follows the database, collectors that ask this machine do not"
            yield FindingRow.warning("clock", told, action)


def _elsewhere() -> Iterator[FindingRow]:
    yield FindingRow.ok("database", "this state is not kept in a database of ours")


def _cure_of(row: CollectorRow) -> str:
    if row.name.startswith(f"{ALLOW_LIST}:"):
        return f"correct {ALLOW_LIST}, or install that package"
    return "mend, upgrade or uninstall that package" if row.package else "mend it where it is, or install it anew"


def _lost(one: Rotation) -> Iterator[FindingRow]:
    """Each value of a data source that cannot be decrypted."""
    for key, problem in one.unreadable.items():
        told = f"{key} of {one.tenant_id} {one.data_source} cannot be decrypted: {problem}"
        action = "give back the lost key, see that the cipher works, or set the value anew"
        yield FindingRow.problem("secrets", told, action)


def _tried(topic: str, probe: Probe) -> list[FindingRow]:
    """What ``probe`` finds; what it raises is what was found, also SystemExit: only KeyboardInterrupt is the user's."""
    try:
        return list(probe())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a host's cipher or catalog, or a plugin, may raise anything
        found = FindingRow.unusable if topic in ESSENTIAL else FindingRow.problem
        told = str(error) if isinstance(error, TenantcollectError) else _told(error)
        cure = next(cure for kind, cure in CURES if isinstance(error, kind))
        return [found(topic, Masker().storable(told), cure)]


def _told(error: BaseException) -> str:
    """The error, and where it was raised."""
    headline, *more = error_text(error).splitlines()
    places = [line.strip() for line in more if line.startswith("  ")]
    return " at ".join([headline, *places[-1:]])
