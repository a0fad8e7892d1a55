"""What ``doctor`` looks at: the database, the clock, the plugins (floor: passes). It changes nothing.

Each probe is tried by itself: what one of them meets is a finding, and hides no other.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from attrs import define

from tenantcollect.catalog import Rotation
from tenantcollect.errors import ConfigurationError, DatabaseUnavailable, SchemaNotCurrent, TenantcollectError
from tenantcollect.registry import Registry
from tenantcollect.reports import FindingRow, Probe, Severity
from tenantcollect.secrets import Masker
from tenantcollect.state import State
from tenantcollect.worker import error_text

if TYPE_CHECKING:
    from sqlalchemy import MetaData

__all__ = ["Diagnosis", "Doctor"]

NOTICEABLE = timedelta(seconds=5)
ESSENTIAL = ("database", "schema")
"""Topics without which nothing can run."""


class Diagnosis(Protocol):
    """What a backend that has a database can find out about it."""

    def probes(self, tables: "Iterable[MetaData]") -> Mapping[str, Probe]:
        """Each topic with its probe, ``database`` first: the others are asked only of one that can be used.

        ``tables`` are those of the installed collectors. Nothing is asked before a probe is called.
        """
        ...


@define
class Doctor:
    """Examines one orchestrator's surroundings."""

    registry: Registry
    state: State
    rotations: Callable[[], Iterable[Rotation]]
    diagnosis: Diagnosis | None

    def findings(self) -> Iterator[FindingRow]:
        """Everything that was looked at, also what is well; raises nothing."""
        yield from _tried("plugins", self._plugins)
        if self.diagnosis is None:
            yield FindingRow.ok("database", "this state is not kept in a database of ours")
            return
        (first, probe), *others = self.diagnosis.probes(self.registry.tables()).items()
        found = _tried(first, probe)
        yield from found
        if all(finding.severity != Severity.UNUSABLE for finding in found):
            for topic, probe in (*others, ("secrets", self._secrets), ("clock", self._clock)):
                yield from _tried(topic, probe)

    def _plugins(self) -> Iterator[FindingRow]:
        rows = self.registry.rows()
        for row in rows:
            if row.error:
                action = "mend, upgrade or uninstall that package"
                yield FindingRow.problem("plugins", f"{row.name}: {row.error}", action)
        if excluded := self.registry.excluded():
            yield FindingRow.ok("plugins", f"TENANTCOLLECT_PLUGINS leaves out {', '.join(excluded)}")
        sound = sum(row.error is None for row in rows)
        yield _finding("plugins", Severity.OK if sound else Severity.WARNING, f"{sound} collectors can be used")

    def _secrets(self) -> Iterator[FindingRow]:
        """What whoever reads the database, or a backup of it, can read; and what nobody can read any more."""
        plain = older = 0
        try:
            for one in self.rotations():
                plain, older = plain + one.plain, older + one.older
                for key, problem in one.unreadable.items():
                    told = f"{key} of {one.tenant_id} {one.data_source} cannot be decrypted: {problem}"
                    yield _finding("secrets", Severity.PROBLEM, told, "give back the lost key, or set the value anew")
        except SchemaNotCurrent:
            return
        except ConfigurationError as error:
            yield _finding("secrets", Severity.OK, str(error))
            return
        if plain:
            action = "give connect a cipher and run: tenantcollect config rotate-keys; or keep them in a vault"
            yield _finding("secrets", Severity.WARNING, f"{plain} secret values are stored as plaintext", action)
        if older:
            action = "run: tenantcollect config rotate-keys"
            yield _finding("secrets", Severity.WARNING, f"{older} secret values have an older key", action)
        if not plain and not older:
            yield _finding("secrets", Severity.OK, "no secret value is stored as plaintext")

    def _clock(self) -> Iterator[FindingRow]:
        before = datetime.now(UTC)
        theirs = self.state.now()
        after = datetime.now(UTC)
        distance = max(before - theirs, theirs - after, timedelta())
        told = f"the clock of this machine and that of the database are {distance.total_seconds():.1f} s apart"
        if distance < NOTICEABLE:
            yield FindingRow.ok("clock", told)
        else:
            action = "run NTP on both; tenantcollect follows the database, collectors that ask this machine do not"
            yield FindingRow.warning("clock", told, action)


def _tried(topic: str, probe: Probe) -> list[FindingRow]:
    try:
        return list(probe())
    except Exception as error:  # noqa: BLE001 - whatever a probe meets is what was found
        severity = Severity.UNUSABLE if topic in ESSENTIAL else Severity.PROBLEM
        told = str(error) if isinstance(error, TenantcollectError) else error_text(error).splitlines()[0]
        action = "see that it runs, and that the URL is right" if isinstance(error, DatabaseUnavailable) else None
        return [_finding(topic, severity, Masker().storable(told), action)]


def _finding(topic: str, severity: Severity, detail: str, action: str | None = None) -> FindingRow:
    return FindingRow(topic=topic, severity=severity, detail=detail, action=action)
