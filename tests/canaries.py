"""Secrets that sing, collectors that let them out, and the net that finds any form of them."""

import base64
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter
from sqlalchemy import create_engine, text
from sqlalchemy.exc import StatementError

from tenantcollect import (
    AuthenticationError,
    CollectorOptions,
    ConfigurationError,
    Orchestrator,
    RateLimited,
    Secret,
    connect,
    hookimpl,
)

DECLARED, UNDECLARED, MARKED, TYPED, RESOLVED = (
    f"canary/{kind}+{'x' * 60} é" for kind in ("declared", "undeclared", "marked", "typed", "resolved")
)
CANARIES = (DECLARED, UNDECLARED, MARKED, TYPED, RESOLVED)
OPTIONS = CollectorOptions(initial_range=timedelta(days=1))


def spellings(canary: str) -> Iterator[str]:
    """Forms of a canary whose appearance gives it away; a part of it is enough."""
    raw = canary.encode()
    yield from (canary, canary[:12], quote(canary, safe=""), quote_plus(canary), quote(canary), repr(raw)[2:-1])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            form = encode(b"x" * offset + raw).decode()
            yield form[4:24]


def leaks(told: str) -> list[str]:
    """What gives a canary away in ``told``."""
    return [form for canary in CANARIES for form in spellings(canary) if form in told]


class Settings(BaseModel):
    """What ``Leaky`` declares; UNDECLARED and RESOLVED it does not."""

    model_config = ConfigDict(extra="allow")

    DECLARED: SecretStr
    MARKED: str
    TYPED: str


class Row(BaseModel):
    """What a collector may validate."""

    name: int


def of_pydantic(env: dict[str, str], context: Any) -> None:
    """A row that is not valid: pydantic's text shows a part of what it was given."""
    Row(name=env["DECLARED"])


def of_a_type_adapter(env: dict[str, str], context: Any) -> None:
    """As before, deeper inside."""
    TypeAdapter(list[Row]).validate_python([{"name": env["UNDECLARED"]}])


def in_a_message(env: dict[str, str], context: Any) -> None:
    """All of them, in one text."""
    raise ValueError(" ".join(env.values()))


def in_a_cause(env: dict[str, str], context: Any) -> None:
    """The error that led to the error."""
    raise RuntimeError("outer") from OSError(env["MARKED"])


def in_a_group(env: dict[str, str], context: Any) -> None:
    """Several errors at once."""
    raise ExceptionGroup(env["RESOLVED"], [ValueError(env["DECLARED"]), KeyError(env["TYPED"])])


def in_a_note(env: dict[str, str], context: Any) -> None:
    """A note below the message."""
    error = ValueError("see below")
    error.add_note(env["DECLARED"])
    raise error


def in_sql(env: dict[str, str], context: Any) -> None:
    """The statement and its parameters."""
    with create_engine("sqlite://").connect() as connection:
        connection.execute(text(f"SELECT '{env['MARKED']}' FROM nosuch WHERE a = :a"), {"a": env["DECLARED"]})


def in_a_statement_error(env: dict[str, str], context: Any) -> None:
    """An error of SQLAlchemy's that no driver raised."""
    raise StatementError(env["DECLARED"], f"SELECT {env['TYPED']}", {"a": env["MARKED"]}, ValueError(env["RESOLVED"]))


def in_warnings_and_progress(env: dict[str, str], context: Any) -> None:
    """What a collector reports of itself."""
    for value in env.values():
        context.warn(f"warned of {value}")
        context.progress(1, 2, f"at {value}")


def in_logs(env: dict[str, str], context: Any) -> None:
    """The message, its arguments, an exception, what is extra, and arguments that do not fit."""
    for value in env.values():
        context.logger.warning(value)
        context.logger.warning("%s %r", value, value.encode())
        context.logger.warning("%(a)s", {"a": value})
        context.logger.warning("%d", value)
        context.logger.info("quiet", extra={"token": value, "tokens": [value], "number": 7})
        try:
            raise ValueError(value)
        except ValueError:
            context.logger.exception("met %s", value)
            context.logger.warning("met", exc_info=True, stack_info=True)


def in_what_is_being_handled(env: dict[str, str], context: Any) -> None:
    """A checkpoint in an except clause: what fails meanwhile, fails in the context of the collector's error."""
    try:
        raise ValueError(env["DECLARED"])
    except ValueError:
        context.checkpoint(context.window.start + timedelta(hours=1))


def in_other_spellings(env: dict[str, str], context: Any) -> None:
    """URLs, forms, headers, bytes."""
    told = []
    for value in env.values():
        basic = base64.b64encode(f"user:{value}".encode()).decode()
        told += [quote(value, safe=""), quote_plus(value), quote(value), f"Basic {basic}", repr(value.encode())]
        told += [base64.b64encode(value.encode()).decode(), base64.urlsafe_b64encode(b"{" + value.encode()).decode()]
    raise ValueError(" ".join(told))


def as_what_it_returns(env: dict[str, str], context: Any) -> Any:
    """Neither a number nor nothing."""
    return env["DECLARED"]


def as_a_cursor_that_is_no_json(env: dict[str, str], context: Any) -> None:
    """A key that JSON cannot have."""
    context.cursor = {(env["DECLARED"],): 1}


def as_refused(env: dict[str, str], context: Any) -> None:
    """Held until somebody acts; the detail of the hold is shown."""
    raise AuthenticationError(f"refused {env['RESOLVED']}")


def as_a_quota(env: dict[str, str], context: Any) -> None:
    """Held for a while."""
    raise RateLimited(60, f"{env['MARKED']} used up its quota")


def as_wrong(env: dict[str, str], context: Any) -> None:
    """Held, with fields."""
    raise ConfigurationError(f"no such org {env['TYPED']}", fields={"TYPED": env["TYPED"]})


def as_an_exit(env: dict[str, str], context: Any) -> None:
    """Not even an Exception."""
    raise SystemExit(env["DECLARED"])


WAYS: list[Callable[[dict[str, str], Any], Any]] = [
    of_pydantic,
    of_a_type_adapter,
    in_a_message,
    in_a_cause,
    in_a_group,
    in_a_note,
    in_sql,
    in_a_statement_error,
    in_warnings_and_progress,
    in_logs,
    in_what_is_being_handled,
    in_other_spellings,
    as_what_it_returns,
    as_a_cursor_that_is_no_json,
    as_refused,
    as_a_quota,
    as_wrong,
    as_an_exit,
]


class Leaky:
    """Lets secrets out in one way."""

    def __init__(self, way: Callable[[dict[str, str], Any], Any]) -> None:
        self.way = way
        self.kept: list[Any] = []

    @hookimpl
    def config(self) -> type[BaseModel]:
        return Settings

    @hookimpl
    def options(self) -> CollectorOptions:
        return OPTIONS

    @hookimpl
    def check(self, env: dict[str, str]) -> str:
        return " ".join(env.values())

    @hookimpl
    def run(self, env: dict[str, str], context: Any) -> Any:
        assert set(CANARIES) == set(env.values())
        assert {type(value) for value in env.values()} == {str}
        self.kept.append(context)
        return self.way(env, context)


def resolve(tenant_id: str, data_source: str, stored: dict[str, str]) -> dict[str, str | Secret]:
    """The ``resolve_env`` of a host whose collectors leak: it adds two of the canaries."""
    return {**stored, "RESOLVED": RESOLVED, "TYPED": Secret(TYPED)}


STORED = {"DECLARED": DECLARED, "UNDECLARED": UNDECLARED, "MARKED": MARKED, "TYPED": "later"}
"""What is configured; MARKED as a secret by ``secrets=``."""


class Querying(Leaky):
    """Lets secrets out through its own session."""

    def __init__(self, statement: str) -> None:
        self.statement = statement

    @hookimpl
    def run(self, env: dict[str, str], db: Any) -> None:
        db.execute(text(self.statement), {"value": env["DECLARED"]})


QUERIES = {
    "no_table": "SELECT :value FROM nosuch",
    "no_number": "SELECT CAST(CAST(:value AS TEXT) AS INTEGER)",
    "no_column": "INSERT INTO tenantcollect_window_guard_void (nosuch) VALUES (:value)",
    "refused": "INSERT INTO tenantcollect_window_guard_void (window_id) VALUES (:value), (:value)",
}


def build(url: str = "sqlite:///canaries.db", **parts: Any) -> Orchestrator:
    """An orchestrator with a data source for every way out, all configured for one tenant."""
    ways: dict[str, object] = {f"{way.__name__}.script": Leaky(way) for way in WAYS}
    queries = {f"{name}.script": Querying(statement) for name, statement in QUERIES.items()}
    orchestrator = connect(url, collectors={**ways, **queries}, resolve_env=resolve, **parts)
    orchestrator.upgrade()
    if not list(orchestrator.configured("t1")):
        for name in (*ways, *queries):
            orchestrator.configure("t1", name.partition(".")[0], STORED, secrets=["MARKED"])
    return orchestrator
