"""Every hook, on one page (floor: hookspecs). ``hookimpl`` marks yours; name only the arguments you want.

When each fires::

    discovery      entry point found, not imported
    load           provides, dependencies, import_window_duration, options; config and tables of the data source
    upgrade()      tables
    configure()    config                                       the env is validated, once per change
    check          config, check                                asked by a person
    a pass         for each due key, in dependency order:
        a window       config          the env is validated and typed
                       run             ── your rows, then the seal: rows + coverage + cursor + history, one commit
    erase          erase                                        a tenant leaves

A script-level plugin (``github.commit``) implements ``run`` and what else it needs; a source-level plugin
(``github``) implements what its scripts share. A host's ``extensions`` may wrap any hook with
``@hookimpl(wrapper=True)``: the wrapper sees every collector's call and its result.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pluggy

from tenantcollect.collectors import CollectorOptions, Context

if TYPE_CHECKING:
    from pydantic import BaseModel
    from sqlalchemy import MetaData
    from sqlalchemy.orm import Session

__all__ = ["PROJECT", "hookimpl", "hookspec"]

PROJECT = "tenantcollect"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def provides() -> list[str]:  # type: ignore[empty-body]
    """The resources this collector provides. Default: the script's own name."""


@hookspec(firstresult=True)
def dependencies() -> list[str]:  # type: ignore[empty-body]
    """The resources this collector needs: ``resource`` or ``source:resource``. Default: none.

    No window is run before every upstream covers it (G5).
    """


@hookspec(firstresult=True)
def import_window_duration() -> timedelta | None:
    """The longest window of one ``run``. Default: 24 hours; None = one window per unbroken piece."""


@hookspec(firstresult=True)
def options() -> CollectorOptions:  # type: ignore[empty-body]
    """How this collector wants to be run. On the data source: the default of all its scripts."""


@hookspec(firstresult=True)
def run(
    env: Mapping[str, str],
    config: "BaseModel | None",
    db: "Session",
    tenant_id: str,
    start_date: datetime,
    end_date: datetime,
    context: Context,
) -> int | None:
    """Collect ``[start_date, end_date)`` (aware, UTC) for one tenant; may be ``async``; may return records: int.

    Fetch first, write last: ``db`` opens its transaction at the first statement, and everything written through
    it commits together with the coverage, or not at all (G2). Returning keeps the window; raising drops it, and
    it is tried again. ``env`` is exactly that of this tenant and data source; ``config`` the same, validated.
    """


@hookspec(firstresult=True)
def config() -> "type[BaseModel]":  # type: ignore[empty-body]
    """The pydantic model of the env keys; ``SecretStr`` marks secrets. Its JSON Schema can render a form."""


@hookspec(firstresult=True)
def check(env: Mapping[str, str], config: "BaseModel | None", tenant_id: str) -> str | None:
    """Try the credentials: raise what is wrong, or return a line about what was found."""


@hookspec(firstresult=True)
def tables() -> "MetaData":  # type: ignore[empty-body]
    """The tables of this data source; ``upgrade()`` creates those that are missing and alters none."""


@hookspec(firstresult=True)
def erase(db: "Session", tenant_id: str) -> Any:
    """Delete every row of this tenant."""
