"""Apps that a child cannot use, and how their parent connects."""

import os
from datetime import timedelta
from functools import partial

from tenantcollect import CollectorOptions, Orchestrator, connect, hookimpl
from tenantcollect.ciphers import Cipher
from tenantcollect.contrib.crypto import FernetCipher
from tenantcollect.contrib.processes import Processes

KEYS = ["b2xkIGtleSBvZiB0aGUgdGVzdHMsIDMyIGJ5dGVzISE=", "bmV3IGtleSBvZiB0aGUgdGVzdHMsIDMyIGJ5dGVzISE="]


class Source:
    """A source without any config of its own."""

    @hookimpl
    def check(self) -> str:
        """Fine."""
        return "ok"


class Item:
    """One window."""

    @hookimpl
    def options(self) -> CollectorOptions:
        return CollectorOptions(initial_range=timedelta(days=1))

    @hookimpl
    def run(self, env: dict[str, str]) -> None:
        """Nothing, for whom it is configured."""


COLLECTORS = {"plain": Source(), "plain.item": Item()}


def parent(url: str, executor: Processes, app: str) -> Orchestrator:
    """As its host connects."""
    return connect(url, collectors=COLLECTORS, executor=executor, app=app, concurrency=1)


def raises() -> Orchestrator:
    """It cannot be built."""
    raise ConnectionError("the vault is sealed")


def exits() -> Orchestrator:
    """It ends its process instead."""
    os._exit(0)


def elsewhere() -> Orchestrator:
    """It is on another database, which has all tables."""
    orchestrator = connect("sqlite:///elsewhere.db", collectors=COLLECTORS)
    orchestrator.upgrade()
    return orchestrator


def empty() -> Orchestrator:
    """It is on a database that has no tables."""
    return connect("sqlite:///empty.db", collectors=COLLECTORS)


def cipher(number: int) -> Cipher:
    """With one of the two keys."""
    return FernetCipher([KEYS[number]])


OLD, NEW = partial(cipher, 0), partial(cipher, 1)
