"""A host's app with one collector: what it does wrong for a tenant stands in the tenant's env, as ``WAY``."""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter
from sqlalchemy import Column, MetaData, String, Table, text

from tenantcollect import CollectorOptions, Orchestrator, connect, hookimpl

DATABASE = "BAD_INPUT_DATABASE"
SECRET = "tok/3f9a77+and=more é"
VALUE = "value-4711"
FORGERY = "first\x1b[31m\u2028\u202eline\nerror: forged\x00"

metadata = MetaData()
things = Table(
    "bad_input_thing",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("note", String(20), nullable=False),
)


class Settings(BaseModel):
    """What the collector needs; keys it does not declare are secret."""

    model_config = ConfigDict(extra="allow")

    WAY: str = "fine"
    FLAG: bool = True
    TOKEN: SecretStr | None = None


def fine(env: dict[str, str], db: Any, context: Any) -> int:
    """Nothing wrong."""
    return 1


def message(env: dict[str, str], db: Any, context: Any) -> None:
    """The secret as it is, as a URL has it, and inside the repr of all."""
    context.warn(f"using {env['TOKEN']}")
    context.logger.warning("using %s", env)
    raise ValueError(f"GET /?token={quote(env['TOKEN'], safe='')} failed with {env!r}")


def cause(env: dict[str, str], db: Any, context: Any) -> None:
    """The secret in what led to the error."""
    raise RuntimeError("outer") from ValueError(env["TOKEN"])


def model(env: dict[str, str], db: Any, context: Any) -> None:
    """The secret as the input of a pydantic error."""
    TypeAdapter(int).validate_python(env["TOKEN"])


def exits(env: dict[str, str], db: Any, context: Any) -> None:
    """Not even an Exception."""
    raise SystemExit(env["TOKEN"])


def unique(env: dict[str, str], db: Any, context: Any) -> None:
    """A primary key that is there twice."""
    for _ in range(2):
        db.execute(things.insert().values(name=VALUE, note=VALUE))


def missing(env: dict[str, str], db: Any, context: Any) -> None:
    """NULL where none may be."""
    db.execute(things.insert().values(name=VALUE, note=None))


def long(env: dict[str, str], db: Any, context: Any) -> None:
    """More characters than the column takes; SQLite takes them, and meets the same key twice."""
    for _ in range(2):
        db.execute(things.insert().values(name=VALUE, note=VALUE * 10))


def typed(env: dict[str, str], db: Any, context: Any) -> None:
    """A text for a number, which PostgreSQL repeats in its message; SQLite takes it, and meets the same key twice."""
    db.execute(text("SELECT CAST(CAST(:value AS TEXT) AS INTEGER)"), {"value": VALUE})
    unique(env, db, context)


def huge(env: dict[str, str], db: Any, context: Any) -> None:
    """Five megabytes of error, out of a thousand frames."""

    def down(depth: int) -> None:
        if not depth:
            raise ValueError("x" * 5_000_000)
        down(depth - 1)

    context.warn("w" * 5_000_000)
    down(500)


def forged(env: dict[str, str], db: Any, context: Any) -> None:
    """What would write a line of its own, or drive the terminal."""
    context.warn(FORGERY)
    context.logger.warning(FORGERY)
    raise ValueError(FORGERY)


def endless(env: dict[str, str], db: Any, context: Any) -> None:
    """Never comes to an end by itself; it is kind enough to look whether it is still wanted."""
    while True:
        context.raise_if_cancelled()


def number(env: dict[str, str], db: Any, context: Any) -> Any:
    """Neither a number nor nothing."""
    return f"records of {env['TOKEN']}"


def environment(env: dict[str, str], db: Any, context: Any) -> int:
    """As wrong as can be: it looks for its token where every other tenant's collector could, too."""
    assert not [name for name, value in os.environ.items() if name in env or value in (env["TOKEN"], env["WAY"])]
    return 1


def flag(env: dict[str, str], db: Any, context: Any) -> None:
    """Only a flag that is off is right."""
    assert Settings.model_validate(env).FLAG is False


WAYS: dict[str, Callable[..., Any]] = {
    way.__name__: way
    for way in (
        fine,
        message,
        cause,
        model,
        exits,
        unique,
        missing,
        long,
        typed,
        huge,
        forged,
        endless,
        number,
        environment,
        flag,
    )
}


class Thing:
    """The collector ``hub.thing``."""

    @hookimpl
    def config(self) -> type[BaseModel]:
        return Settings

    @hookimpl
    def tables(self) -> MetaData:
        return metadata

    @hookimpl
    def options(self) -> CollectorOptions:
        return CollectorOptions(initial_range=timedelta(days=1), window_timeout=timedelta(seconds=2))

    @hookimpl
    def import_window_duration(self) -> None:
        return None

    @hookimpl
    def check(self, env: dict[str, str], config: Settings) -> str:
        raise ValueError(f"{FORGERY} {env}") if config.WAY == "forged" else PermissionError(f"{env}")

    @hookimpl
    def run(self, env: dict[str, str], config: Settings, db: Any, context: Any) -> Any:
        return WAYS[config.WAY](env, db, context)


COLLECTORS = {"hub.thing": Thing()}


def build() -> Orchestrator:
    """The orchestrator on the database that the environment names."""
    return connect(os.environ[DATABASE], collectors=COLLECTORS)


def hostile_schema() -> Orchestrator:
    """A host that takes a schema from somebody."""
    return connect("postgresql://nobody@127.0.0.1:1/nowhere", schema='x"; DROP TABLE things; --')


def crowded() -> Orchestrator:
    """One tenant with very many keys beside one with a single key, and one window at a time."""
    collectors = {f"hub{n}.thing": Thing() for n in range(60)}
    orchestrator = connect(os.environ[DATABASE], collectors=collectors, concurrency=1)
    for name in collectors:
        orchestrator.configure("bad", name.partition(".")[0], {})
    orchestrator.configure("good", "hub0", {})
    return orchestrator
