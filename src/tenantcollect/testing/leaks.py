"""The rule about secrets: looks for them in all that a window leaves behind (floor: testing)."""

import logging
from collections.abc import Iterator, Mapping
from uuid import uuid4

import pytest

from tenantcollect.errors import ConfigurationError
from tenantcollect.secrets import Masker
from tenantcollect.testing.case import Case, require
from tenantcollect.testing.collector import Collected
from tenantcollect.testing.collectors import CollectorTests

__all__ = ["SecretRules", "made_up", "secrets_of"]


class SecretRules(CollectorTests):
    """A tenant's secrets go to its data source, and nowhere else."""

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


def places(case: Case, collected: Collected, secrets: Mapping[str, str], log: str, printed: str) -> Iterator[str]:
    """Where a secret stands, and what to do about it."""
    left = {
        "a row": (repr(collected.rows), "do not store it"),
        "context.cursor": (repr(collected.cursor), "a cursor is stored as it is; take the secret out of it"),
        "context.resume": (repr(collected.resume), "it is stored as it is; take the secret out of it"),
        "a warning or a progress message": (repr(case.harness.watched.said), "do not say it"),
        "the text of an error": (
            _texts(collected.error),
            "send it in a header, not in the URL, and let raise_for_response(response) raise",
        ),
        "the log": (log, "log through context.logger, which masks it, or do not log it"),
        "what was printed": (printed, "do not print; use context.logger"),
    }
    for key, value in secrets.items():
        masker = Masker.of([value])
        for where, (text, cure) in left.items():
            if masker.finds(text):
                yield f"{key} stands in {where}: {cure}"


def _texts(error: BaseException | None) -> str:
    """What an error and all that led to it say."""
    said: list[str] = []
    while error is not None and len(said) < 20:
        said.append(f"{error} {error!r}")
        error = error.__cause__ or error.__context__
    return " ".join(said)
