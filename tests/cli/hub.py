"""A host's app for the tests of ``--app``: two tenants of a made-up ``hub``, on the memory backend.

``HUB_REFUSES`` names a tenant whose credentials are refused, ``HUB_HANGS`` one whose check never ends,
``HUB_SEIZES`` one whose check also lets nobody else run, ``HUB_CLOSES`` one whose check closes all files before that,
``HUB_LEAVES`` one whose check ends the process (``build``: so does building it), ``HUB_STARTS`` one whose check starts
a program that stays.
``HUB_SECONDS`` makes each window slow, with ``HUB_CHATTERS`` a collector prints.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, SecretStr

from tenantcollect import AuthenticationError, Context, PassStarted, hookimpl
from tenantcollect.backends.memory import MemoryBackend
from tenantcollect.events import Event
from tenantcollect.orchestrator import Orchestrator

SECRET = "tok-3f9a77"
HOSTILE = "no\x1b[31m \u202e[red]entry\n"


class Settings(BaseModel):
    URL: str
    TOKEN: SecretStr


class Hub:
    @hookimpl
    def config(self) -> type[BaseModel]:
        return Settings

    @hookimpl
    def check(self, env: Mapping[str, str], tenant_id: str) -> str:
        _refuse(env, tenant_id)
        if tenant_id == os.environ.get("HUB_STARTS"):
            subprocess.Popen(["sleep", "779"])
        if tenant_id == os.environ.get("HUB_HANGS"):
            threading.Event().wait()
        if tenant_id == os.environ.get("HUB_SEIZES"):
            Path("seized").touch()
            re.match(r"(a+)+$", "a" * 60 + "b")
        if tenant_id == os.environ.get("HUB_CLOSES"):
            os.closerange(3, 300)
            ctypes.PyDLL(None).sleep(779)
        if tenant_id == os.environ.get("HUB_LEAVES"):
            os._exit(0)
        return f"welcome {env['TOKEN']}"


class Team:
    @hookimpl
    def import_window_duration(self) -> timedelta:
        return timedelta(days=30)

    @hookimpl
    def run(self, env: Mapping[str, str], tenant_id: str, context: Context) -> int:
        _refuse(env, tenant_id)
        context.warn(HOSTILE)
        context.logger.warning("met %s", HOSTILE)
        if "HUB_CHATTERS" in os.environ:
            print("fetching…")  # noqa: T201 - what authors leave in
        if "HUB_SECONDS" in os.environ:
            Path("started").touch()
            threading.Event().wait(float(os.environ["HUB_SECONDS"]))
        return 3


class Repository:
    @hookimpl
    def dependencies(self) -> list[str]:
        return ["team"]

    @hookimpl
    def run(self) -> int:
        return 1


def _refuse(env: Mapping[str, str], tenant_id: str) -> None:
    if tenant_id == os.environ.get("HUB_REFUSES"):
        raise AuthenticationError(f"{HOSTILE} {env['TOKEN']}")


def build() -> Orchestrator:
    """Two tenants, configured."""
    if os.environ.get("HUB_LEAVES") == "build":
        os._exit(0)
    backend = MemoryBackend()
    orchestrator = Orchestrator(
        state=backend.state,
        locks=backend.locks,
        catalog=backend.catalog,
        collectors={"hub": Hub(), "hub.team": Team(), "hub.repository": Repository()},
    )
    for tenant_id in ("acme", "globex"):
        orchestrator.configure(tenant_id, "hub", {"URL": "https://hub", "TOKEN": SECRET})
    return orchestrator


def broken() -> None:
    """A host's own mistake."""
    raise ValueError("no such\nserver")


def hasty() -> Orchestrator:
    """Told to stop when a pass is about to begin, and before there is one to be told."""

    def stop(event: Event) -> None:
        if isinstance(event, PassStarted):
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(0.3)

    orchestrator = build()
    orchestrator.subscribe(stop)
    return orchestrator


class Mute(BaseException):
    """Neither an Exception nor one that can be told."""

    def __str__(self) -> str:
        raise SystemExit(0)


def mute() -> None:
    """Ends the process, and again when one asks why."""
    raise Mute


class Moody:
    """Its attributes cannot be asked for."""

    def __getattr__(self, name: str) -> None:
        raise RuntimeError("not today")


def leaving() -> Orchestrator:
    """Ends the process whenever it is asked for the time."""
    orchestrator = build()
    orchestrator.now = lambda: sys.exit(0)  # type: ignore[method-assign]
    return orchestrator


nothing = None
moody = Moody()
