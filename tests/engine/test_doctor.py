"""``doctor`` without a database of ours: what it finds of plugins and of a host's catalog. It raises nothing."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

import pytest

from tenantcollect import Orchestrator
from tenantcollect.backends.memory import MemoryBackend
from tenantcollect.catalog import Source
from tenantcollect.reports import FindingRow, Severity
from tests.engine.conftest import Calls, collector, recording

Doctor = Callable[..., dict[str, list[FindingRow]]]


class Host:
    """A host's own catalog, which does with each question what it was made with."""

    def __init__(self, answer: Callable[[], Iterable[Any]]) -> None:
        self.sources = lambda tenant_ids=None: answer()

    def env(self, tenant_id: str, data_source: str) -> dict[str, str]:
        return {}

    def version(self) -> int:
        return 1


@pytest.fixture
def doctor(backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[Doctor]:
    """Its findings by topic; each that is not ok says what to do."""
    monkeypatch.setenv("TENANTCOLLECT_PLUGINS", "tenantcollect")
    made: list[Orchestrator] = []

    def examined(**options: Any) -> dict[str, list[FindingRow]]:
        parts: dict[str, Any] = {"catalog": backend.catalog, "collectors": {"demo.fact": collector(recording(Calls()))}}
        made.append(Orchestrator(state=backend.state, locks=backend.locks, **{**parts, **options}))
        found: dict[str, list[FindingRow]] = {}
        for row in made[-1].doctor():
            found.setdefault(row.topic, []).append(row)
            assert row.severity is Severity.OK or row.action
        return found

    yield examined
    for one in made:
        one.close()


def raising(error: BaseException) -> Callable[[], NoReturn]:
    """What answers with that error."""

    def answer() -> NoReturn:
        raise error

    return answer


def test_a_state_elsewhere_has_no_database_to_examine(doctor: Doctor) -> None:
    """Plugins and catalog are examined, and nothing else is claimed."""
    found = doctor(catalog=Host(lambda: [Source(tenant_id="acme", data_source="demo")]))
    assert list(found) == ["plugins", "database", "catalog"]
    assert found["catalog"][0].detail == "tenants have configured: demo for 1"


@pytest.mark.parametrize(
    "answer",
    [raising(RuntimeError("the CRM is down")), raising(SystemExit("the CRM is down")), lambda: [{"tenant": 1}]],
)
def test_a_catalog_that_fails_is_a_problem(doctor: Doctor, answer: Callable[[], Iterable[Any]]) -> None:
    """Whatever a host's catalog raises, also SystemExit, and whatever it returns, is found and not raised."""
    [row] = doctor(catalog=Host(answer))["catalog"]
    assert row.severity is Severity.PROBLEM
    assert any(told in row.detail for told in ("the CRM is down", "has no attribute 'data_source'"))


def test_only_the_user_interrupts(doctor: Doctor) -> None:
    """What a person's Ctrl-C raises is no finding."""
    with pytest.raises(KeyboardInterrupt):
        doctor(catalog=Host(raising(KeyboardInterrupt())))


def test_a_misspelt_allow_list_is_told_apart_from_a_broken_package(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No package is to be mended when the list of allowed ones names none; one that is given in code has no package."""
    monkeypatch.setenv("TENANTCOLLECT_PLUGINS", "nope")
    misspelt, broken, _, sound = doctor(collectors={"bad.bad": object()})["plugins"][-4:]
    assert (misspelt.severity, misspelt.action) == (
        Severity.PROBLEM,
        "correct TENANTCOLLECT_PLUGINS, or install that package",
    )
    assert (broken.severity, "package" in (broken.action or "")) == (Severity.PROBLEM, False)
    assert (sound.severity, sound.detail) == (Severity.WARNING, "no collector can be used")
