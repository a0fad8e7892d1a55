"""The rule about secrets: looks for them in all that a window leaves behind (floor: testing)."""

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from uuid import uuid4

import pytest

from tenantcollect.errors import ConfigurationError
from tenantcollect.secrets import Masker
from tenantcollect.testing.case import Case, require
from tenantcollect.testing.collector import Collected
from tenantcollect.testing.collectors import CollectorTests

__all__ = ["SecretRules", "made_up", "secrets_of"]

DEEPEST = 10


class SecretRules(CollectorTests):
    """A tenant's secrets go to its data source, and nowhere else."""

    def test_no_secret_leaks(
        self, case: Case, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """No secret of the env stands in rows, cursor, warnings, errors, logs or output, also when it is refused."""
        if not secrets_of(case):
            pytest.skip("the env has no secret")
        for env in filter(None, (case.env, made_up(case))):
            case.fresh()
            caplog.clear()
            capfd.readouterr()
            before = dict(os.environ)
            with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                collected = case.run(env=env)
            said = {
                **kept(case, collected),
                **told(caplog.text, "".join(capfd.readouterr()), [str(warning.message) for warning in warned]),
                "os.environ": (repr(put_back(before)), "other tenants and child processes read it; hand it over"),
            }
            found = list(places(said, {key: env[key] for key in secrets_of(case)}))
            require(not found, "; ".join(found))


def secrets_of(case: Case) -> dict[str, str]:
    """The values of the env that are secret: declared so, or not declared at all."""
    data_source = case.script.partition(".")[0]
    return {key: case.env[key] for key in case.harness.registry.secret_keys(data_source, case.env)}


def made_up(case: Case) -> dict[str, str] | None:
    """The env with secrets that nobody admits, to see what a refusal says; None if config() refuses them itself."""
    env = {**case.env, **{key: f"canary{uuid4().hex}" for key in secrets_of(case)}}
    try:
        case.harness.registry.validate(case.script.partition(".")[0], env)
    except ConfigurationError:
        return None
    return env


def kept(case: Case, collected: Collected) -> dict[str, tuple[str, str]]:
    """What a window leaves behind, and what to do if a secret stands there."""
    watched = case.harness.watched
    cure = "it is stored as it is; take the secret out of it"
    return {
        "a row": (repr(collected.rows), "do not store it"),
        "context.cursor": (repr(collected.cursor), cure),
        "context.resume": (repr(collected.resume), cure),
        "context.cursor or context.resume of a checkpoint": (repr(watched.kept), cure),
        "a warning or a progress message": (repr(watched.said), "do not say it"),
        "the text of an error": (
            " ".join(texts(collected.error)),
            "send it in a header, not in the URL, and let raise_for_response(response) raise",
        ),
    }


def told(log: str, printed: str, warned: Iterable[str]) -> dict[str, tuple[str, str]]:
    """What a window says to whoever listens, and what to do if a secret stands there."""
    return {
        "the log": (log, "log through context.logger, which masks it, or do not log it"),
        "what was printed": (printed, "do not print, nor let a child process; use context.logger"),
        "a warning of Python": (" ".join(warned), "do not give it to warnings.warn()"),
    }


def put_back(environ: Mapping[str, str]) -> dict[str, str]:
    """Make the process's environment what it was; what was put into it meanwhile."""
    new = {key: value for key, value in os.environ.items() if environ.get(key) != value}
    for key in new:
        os.environ.pop(key)
    os.environ.update(environ)
    return new


def places(said: Mapping[str, tuple[str, str]], secrets: Mapping[str, str]) -> Iterator[str]:
    """Where a secret stands, and what to do about it."""
    for key, value in secrets.items():
        masker = Masker.of([value])
        for where, (text, cure) in said.items():
            if masker.finds(text):
                yield f"{key} stands in {where}: {cure}"


def texts(error: BaseException | None, depth: int = 0) -> Iterator[str]:
    """What an error, its notes, its group and all that led to it say."""
    if error is None or depth > DEEPEST:
        return
    yield f"{error} {error!r}"
    yield from getattr(error, "__notes__", ())
    led: tuple[BaseException | None, ...] = (error.__cause__, error.__context__)
    for other in (*led, *(error.exceptions if isinstance(error, BaseExceptionGroup) else ())):
        yield from texts(other, depth + 1)
