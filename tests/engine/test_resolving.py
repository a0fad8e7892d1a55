"""What is kept of a ``resolve_env`` that fails: nothing of a secret that nobody has told us yet (G6)."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from tenantcollect import AuthenticationError, CollectorOptions, TryLater

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
