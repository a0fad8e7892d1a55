"""G6: a secret that a collector lets out in every way it can think of stands in nothing we store, say or show."""

import base64
import logging
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from pydantic import BaseModel, SecretStr, field_validator, model_validator

from tenantcollect import (
    CollectorOptions,
    ConfigurationError,
    Orchestrator,
    Secret,
    Source,
    TenantcollectError,
    hookimpl,
)
from tenantcollect.backends.memory import MemoryBackend
from tenantcollect.catalog import ConfigValue
from tenantcollect.worker import Resolved
from tests.canaries import CANARIES, DECLARED, MARKED, RESOLVED, STORED, TYPED, WAYS, Leaky, Settings, leaks, resolve

from .conftest import Clock


class Everything(logging.Handler):
    """All that is logged, with every attribute of every record."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(f"{self.format(record)} {vars(record)}")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What the library logs."""
    handler, logger = Everything(), logging.getLogger("tenantcollect")
    level, logger.level = logger.level, logging.DEBUG
    logger.addHandler(handler)
    yield handler.told
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_g6_no_way_out_for_a_secret(make, backend: MemoryBackend, logged, way):
    """History, state, holds, schedule, events, reports, logs, reprs, and what a subscriber's own failure logs."""
    seen: list[Any] = []
    leaky = Leaky(way)

    def subscriber(event: object) -> None:
        seen.append(event)
        raise RuntimeError("a subscriber's own bug")

    orchestrator = make({"acme.a": leaky}, resolve_env=resolve)
    orchestrator.subscribe(subscriber)
    orchestrator.configure("t1", "acme", STORED, secrets=["MARKED"])
    report = orchestrator.run()
    rows = [
        list(read()) for read in (orchestrator.status, orchestrator.explain, orchestrator.plan, orchestrator.history)
    ]
    told = repr([report, rows, seen, list(orchestrator.check()), orchestrator.plugins(), orchestrator.configured()])
    told += repr([orchestrator, *vars(orchestrator).values(), leaky.kept, backend.state, backend.catalog])
    told += repr([backend.catalog, orchestrator.catalog.values("t1", "acme"), orchestrator.config("t1", "acme")])
    told += " ".join(logged)
    assert len(leaky.kept) >= 1
    assert any("a subscriber's own bug" in line for line in logged)
    assert leaks(told) == []


def test_g6_the_canaries_would_be_found():
    """The net of these tests has no hole of its own: each spelling of each canary is seen."""
    for canary in CANARIES:
        raw = canary.encode()
        for told in (canary, f"{raw!r}", quote(canary), quote_plus(canary), base64.b64encode(b"user:" + raw).decode()):
            assert leaks(f"before {told} after")


def test_g6_reprs_of_values_that_carry_secrets_show_none():
    """What modules hand to each other, and what a debugger prints."""
    values = [
        ConfigValue(key="A", value=DECLARED),
        Resolved(env={"A": DECLARED}, config=Settings(DECLARED=DECLARED, MARKED="-", TYPED="-")),
        Secret(DECLARED),
    ]
    assert leaks(repr(values)) == []


class Judging(BaseModel):
    """Its validators repeat what they were given."""

    A: str = ""
    B: str = ""
    C: SecretStr = SecretStr("")

    @field_validator("A")
    @classmethod
    def _a(cls, value: str) -> str:
        if value.startswith("canary"):
            raise ValueError(f"not {value}")
        return value

    @model_validator(mode="after")
    def _all(self) -> "Judging":
        if self.B or self.C.get_secret_value():
            raise ValueError(f"not together: {self.B} {self.C.get_secret_value()}")
        return self


class Judged:
    """Its configuration is never right."""

    @hookimpl
    def config(self) -> type[BaseModel]:
        return Judging

    @hookimpl
    def run(self) -> None: ...


@pytest.mark.parametrize("env", [{"A": DECLARED}, {"B": MARKED}, {"C": DECLARED}, {"B": Secret(TYPED)}])
def test_g6_a_validator_that_repeats_a_secret_is_masked(make, env):
    """Also one over all keys, of a key that only ``secrets=`` or its type marks."""
    orchestrator = make({"acme.a": Judged()})
    with pytest.raises(ConfigurationError) as refused:
        orchestrator.configure("t1", "acme", env, secrets=[key for key, value in env.items() if value == MARKED])
    assert leaks(f"{refused.value} {refused.value.fields}") == []
    assert "not" in str(refused.value)


def test_g6_a_secret_that_only_resolve_env_knows_is_in_no_error_of_its_own(make, logged):
    """It fails before it told us what to mask: so the class and the place of its error are kept, and no word."""

    def resolve(tenant_id: str, data_source: str, stored: Any) -> Any:
        raise KeyError(f"{RESOLVED} is no token")

    orchestrator = make({"acme.a": Judged()}, resolve_env=resolve)
    orchestrator.configure("t1", "acme", {})
    assert orchestrator.run().windows.failed == 1
    told = repr([list(orchestrator.history()), list(orchestrator.explain()), list(orchestrator.check())])
    assert "resolve_env raised KeyError at" in told
    assert leaks(told + " ".join(logged)) == []


class Theirs:
    """A catalog of the host's whose env fails for one tenant, with the secret in its error."""

    def __init__(self, env: Any) -> None:
        self._env = env

    def sources(self, tenant_ids: Any = None) -> Any:
        return [Source(tenant_id="t1", data_source="acme", revision="1")]

    def env(self, tenant_id: str, data_source: str) -> Any:
        return self._env()

    def version(self) -> object:
        return 1


def broken() -> Any:
    """A decryption of the host's own that went wrong."""
    raise ValueError(DECLARED)


@pytest.mark.parametrize(
    ("env", "part"),
    [
        (broken, r"env\(\) of the catalog raised ValueError at"),
        (lambda: {"B": Secret(DECLARED)}, "not together"),
        (lambda: {"A": 1, "B": DECLARED}, "must have a text as value, not int"),
        (lambda: [DECLARED], "must be a mapping"),
    ],
)
def test_g6_a_catalog_of_the_hosts_gives_no_secret_away(backend: MemoryBackend, clock: Clock, env, part, logged):
    """What its env() raises, and what is wrong with what it returns."""
    orchestrator = Orchestrator(
        state=backend.state, locks=backend.locks, catalog=Theirs(env), clock=clock, collectors={"acme.a": Judged()}
    )
    orchestrator.run()
    [row] = orchestrator.history()
    assert row.status == "FAILED"
    assert re.search(part, row.error)
    assert leaks(repr([row, list(orchestrator.explain())]) + " ".join(logged)) == []


def test_a_source_that_was_disconnected_meanwhile_begins_no_window(make):
    """A running pass would else collect the next window with an empty env, and blame the tenant."""
    envs: list[dict[str, str]] = []

    class Disconnecting:
        @hookimpl
        def options(self) -> CollectorOptions:
            return CollectorOptions(initial_range=timedelta(days=3))

        @hookimpl
        def run(self, env: dict[str, str]) -> None:
            envs.append(env)
            orchestrator.catalog.remove("t1", "acme")

    orchestrator = make({"acme.a": Disconnecting()})
    orchestrator.configure("t1", "acme", {"TOKEN": "t0ken"})
    report = orchestrator.run()
    assert envs == [{"TOKEN": "t0ken"}]
    assert (report.windows.completed, report.windows.failed) == (1, 0)
    [row] = orchestrator.explain()
    assert row.reason == "not_configured"


def test_a_source_that_needs_no_key_is_run(make):
    """Nothing to resolve is not the same as nothing configured."""
    orchestrator = make({"acme.a": Judged()})
    orchestrator.configure("t1", "acme", {})
    assert orchestrator.run().windows.completed == 90


def test_tenantcollect_errors_of_resolve_env_are_kept_masked(make):
    """They are written to be read, and say what should happen."""

    def resolve(tenant_id: str, data_source: str, stored: Any) -> Any:
        raise TenantcollectError(f"the vault does not know {stored['A']}")

    orchestrator = make({"acme.a": Judged()}, resolve_env=resolve)
    orchestrator.configure("t1", "acme", {"A": "canari-s3cret"}, secrets="A")
    orchestrator.run()
    [row] = orchestrator.history()
    assert row.error.startswith("TenantcollectError: the vault does not know ***")
