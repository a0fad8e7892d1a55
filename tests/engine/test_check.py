import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from tenantcollect import AuthenticationError, ConfigurationError, Orchestrator, hookimpl

SECRET = "tok-3f9a77"


class Settings(BaseModel):
    TOKEN: SecretStr


class Source:
    """A data source whose check does what it is given."""

    def __init__(self, action: Callable[[str], Any]) -> None:
        self.action = action

    @hookimpl
    def config(self) -> type[BaseModel]:
        return Settings

    @hookimpl
    def check(self, env: Mapping[str, str]) -> Any:
        return self.action(env["TOKEN"])


class Script:
    @hookimpl
    def run(self) -> int:
        return 0


@pytest.fixture
def check(make: Callable[..., Orchestrator]) -> Callable[..., Any]:
    """The row of a check that does ``action``."""

    def ask(action: Callable[[str], Any], **options: Any) -> Any:
        orchestrator = make({"hub": Source(action), "hub.team": Script()})
        orchestrator.configure("acme", "hub", {"TOKEN": SECRET})
        [row] = orchestrator.check("acme", "hub", **options)
        return row

    return ask


def raising(error: BaseException) -> Callable[[str], Any]:
    """A check that raises ``error``."""

    def action(_: str) -> Any:
        raise error

    return action


def test_a_check_says_what_was_found_without_its_secret(check: Callable[..., Any]) -> None:
    """G6: the line that the hook returns is masked."""
    row = check(lambda token: f"welcome {token}")
    assert (row.ok, row.detail) == (True, "welcome ***")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AuthenticationError(f"refused {SECRET}"), "auth_failed"),
        (ConfigurationError(f"wrong {SECRET}"), "config_invalid"),
        (TimeoutError(f"slow {SECRET}"), "backoff"),
        (SystemExit(f"bye {SECRET}"), "backoff"),
    ],
)
def test_whatever_a_check_raises_is_its_answer(check: Callable[..., Any], error: BaseException, reason: str) -> None:
    """The caller is told in a row, masked, and never ended; a TimeoutError of the hook's own is told as that."""
    row = check(raising(error))
    assert (row.ok, row.reason) == (False, reason)
    assert SECRET not in row.detail
    assert "***" in row.detail


@pytest.mark.parametrize(
    ("answer", "what"), [(False, "bool"), (True, "bool"), ({"ok": False}, "dict"), (b"no", "bytes")]
)
def test_an_answer_that_is_no_line_breaks_the_collector(check: Callable[..., Any], answer: object, what: str) -> None:
    """An author who returns what is wrong is told to raise it: nothing but a line, or nothing, is a success."""
    row = check(lambda _: answer)
    assert (row.ok, row.reason) == (False, "collector_broken")
    assert f"check() of hub returned {what}; raise what is wrong" in row.detail
    assert row.action


def test_a_check_may_return_nothing(check: Callable[..., Any]) -> None:
    """All is well then."""
    row = check(lambda _: None)
    assert (row.ok, row.detail) == (True, "ok")


def test_a_check_that_hangs_is_reported_in_time(check: Callable[..., Any]) -> None:
    """The hook waits for ever; the row says so, and what to do."""
    forever = threading.Event()
    row = check(lambda _: forever.wait(60), timeout=0.2)
    forever.set()
    assert (row.ok, row.reason) == (False, "backoff")
    assert row.detail == "no answer within 0.2 s"  # that its thread is left behind is so in a host's process only
    assert row.action


@pytest.mark.parametrize(("minted", "ok"), [(["old", "new"], True), (["old", "old"], False), (["old", "older"], False)])
def test_credentials_that_were_refused_are_resolved_anew_once(make, minted, ok):
    """As a window does: a check says what a window would meet."""
    tokens = iter(minted)

    class Refusing:
        @hookimpl
        def check(self, env):
            if env["TOKEN"] != "new":
                raise AuthenticationError("refused")
            return "welcome"

        @hookimpl
        def run(self): ...

    orchestrator = make({"acme.a": Refusing()}, resolve_env=lambda *_: {"TOKEN": next(tokens)})
    orchestrator.configure("t1", "acme", {})
    [row] = orchestrator.check()
    assert (row.ok, row.reason) == ((True, None) if ok else (False, "auth_failed"))
    assert next(tokens, None) is None
