"""What is kept of a ``resolve_env`` that fails: nothing of a secret that nobody has told us yet (G6)."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr

from tenantcollect import AuthenticationError, CollectorOptions, TryLater, hookimpl

from .conftest import Calls, collector, recording

TOKEN = "hvs.canary-0001"
ONE_DAY = CollectorOptions(initial_range=timedelta(days=1))


class Lazy(Mapping[str, str]):
    """Asks the vault for each value, when it is read."""

    def __getitem__(self, key: str) -> str:
        raise LookupError(f"403 for {TOKEN}")

    def __iter__(self) -> Iterator[str]:
        return iter(["TOKEN"])

    def __len__(self) -> int:
        return 1


def as_the_cause_of_ours(*_: Any) -> dict[str, str]:
    """The vault's error has the token; ours leads to it."""
    try:
        raise LookupError(f"403 for {TOKEN}")
    except LookupError as error:
        raise TryLater(60, "the vault is sealed") from error


def as_the_context_of_ours(*_: Any) -> dict[str, str]:
    """As before, in passing."""
    try:
        raise LookupError(f"403 for {TOKEN}")
    except LookupError:
        raise AuthenticationError("the tenant withdrew")  # noqa: B904 - what a host writes


def as_an_exit(*_: Any) -> dict[str, str]:
    """A library for command lines."""
    raise SystemExit(f"login failed for {TOKEN}")


def as_an_interrupt(*_: Any) -> dict[str, str]:
    """Somebody's idea of a way out."""
    raise KeyboardInterrupt(TOKEN)


def lazily(*_: Any) -> Mapping[str, str]:
    """Only when the env is read."""
    return Lazy()


@pytest.mark.parametrize("way", [as_the_cause_of_ours, as_the_context_of_ours, as_an_exit, as_an_interrupt, lazily])
def test_g6_nothing_is_kept_of_what_led_resolve_env_to_fail(make, caplog, way):
    """In no row, event, report or log; our own error keeps its words, of any other the class and the place are."""
    seen = []
    orchestrator = make({"acme.a": collector(recording(Calls()), options=ONE_DAY)}, resolve_env=way)
    orchestrator.subscribe(seen.append)
    orchestrator.configure("t1", "acme", {})
    told = [orchestrator.run(), list(orchestrator.check())]
    told += [list(ask()) for ask in (orchestrator.history, orchestrator.status, orchestrator.explain)]
    assert TOKEN not in repr([told, seen]) + caplog.text
    [row] = orchestrator.history()
    words = {
        as_the_cause_of_ours: "the vault is sealed",
        as_the_context_of_ours: "the tenant withdrew",
        as_an_interrupt: "KeyboardInterrupt",
        as_an_exit: "resolve_env raised SystemExit at ",
        lazily: "resolve_env raised LookupError at ",
    }
    assert words[way] in row.error


@pytest.mark.parametrize("wrong", [None, [("TOKEN", "t")], "TOKEN=t"])
def test_a_resolve_env_that_returns_no_mapping_is_tried_again_soon(make, clock, wrong):
    """A vault that answered oddly once is no wrong configuration."""
    answers = [wrong]
    orchestrator = make(
        {"acme.a": collector(recording(Calls()), options=ONE_DAY)},
        resolve_env=lambda *_: answers.pop() if answers else {"TOKEN": "t"},
    )
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    [row] = orchestrator.explain()
    assert (row.reason, "resolve_env returned" in row.detail) == ("backoff", True)
    clock.advance(minutes=1)
    assert orchestrator.run().windows.completed == 1


class Declaring:
    """A collector that needs a token of eight characters."""

    @hookimpl
    def options(self):
        return ONE_DAY

    @hookimpl
    def config(self):
        return Settings

    @hookimpl
    def run(self): ...


class Settings(BaseModel):
    TOKEN: SecretStr = Field(min_length=8)


def test_an_env_that_was_resolved_wrongly_is_looked_at_again_and_its_action_is_not_to_set_a_value(make, clock):
    """Within the hour, without anybody; what is said leads to resolve_env, in every place."""
    env = {}
    orchestrator = make({"acme.a": Declaring()}, resolve_env=lambda *_: dict(env))
    orchestrator.configure("t1", "acme", {})
    [ran], [check], [row] = orchestrator.run().keys, orchestrator.check(), orchestrator.explain()
    assert row.until == clock() + timedelta(hours=1)
    for told in (ran, check, row):
        assert told.reason == "config_invalid"
        assert told.action == "mend what the detail names, then: tenantcollect resume t1 acme"
    for text in (ran.error, check.detail, row.detail):
        assert "what resolve_env returned is not valid: TOKEN: Field required" in text
    env["TOKEN"] = "long-enough"
    assert orchestrator.run().windows.completed == 0
    clock.advance(hours=1)
    assert orchestrator.run().windows.completed == 2


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({f"{TOKEN}=": "x"}, "a key of it: must not hold '='"),
        ({TOKEN: "x", "TOKEN": "long-enough"}, "a key of it: unknown key"),
        ({TOKEN: b"x"}, "a key of it: must have a text as value, not bytes"),
        ({"TOKEN": TOKEN * 20_000}, "env: is 300005 bytes large"),
        ({"TOKEN": "short"}, "TOKEN: Value should have at least 8"),
    ],
)
def test_g6_a_token_in_the_place_of_a_key_is_not_named(make, env, told):
    """Of what was resolved only those keys are named that are stored or declared."""
    orchestrator = make({"acme.a": Declaring()}, resolve_env=lambda *_: env)
    orchestrator.configure("t1", "acme", {})
    everything = [orchestrator.run(), *orchestrator.check(), *orchestrator.history(), *orchestrator.explain()]
    assert TOKEN not in repr(everything)
    [row] = orchestrator.explain()
    assert f"what resolve_env returned is not valid: {told}" in row.detail
