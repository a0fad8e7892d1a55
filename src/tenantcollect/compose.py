"""The defaults: from an engine or a URL to an orchestrator, here or in a child (floor: compose)."""

import pickle
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING

from attrs import asdict, field, frozen

from tenantcollect.apps import checked_app, from_app
from tenantcollect.catalog import Catalog
from tenantcollect.ciphers import Cipher
from tenantcollect.configuring import ResolveEnv
from tenantcollect.errors import ConfigurationError
from tenantcollect.locks import DEFAULT_TTL, Locks
from tenantcollect.orchestrator import Orchestrator
from tenantcollect.policy import FIRST_DELAY
from tenantcollect.secrets import Masker
from tenantcollect.settings import Seconds, Settings
from tenantcollect.state import State
from tenantcollect.worker import Errand, Report, error_text

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["Recipe", "connect"]


MakeCipher = Callable[[], Cipher | None]
"""Makes a cipher where it is used; a function of a module, where other processes use it too."""


@frozen(kw_only=True)
class Recipe:
    """How a child builds the same orchestrator, and runs a window with it; a small picklable value.

    Either ``app`` (``module:attribute``), or a URL with what else is plain; a URL travels over the pipe only. Raises
    :class:`ConfigurationError` for neither.
    """

    app: str | None = None
    url: str | None = field(default=None, repr=False)
    schema: str | None = None
    collector_role: str | None = None
    settings: Settings = field(factory=Settings)
    cipher: MakeCipher | None = field(default=None, eq=pickle.dumps, repr=False)  # eq: what travels, not which object

    def __attrs_post_init__(self) -> None:
        if self.app is None and self.url is None:
            raise ConfigurationError(
                "windows that run in other processes cannot be given objects (an engine, collectors, a clock, a "
                "catalog, a cipher); say how a child builds this orchestrator: "
                'connect(..., app="myapp.sync:orchestrator")'
            )
        if self.app is not None:
            checked_app(self.app)

    def __call__(self, errand: Errand) -> Report:
        """Run the window of ``errand`` here. What cannot be built or begun is told: errors do not travel."""
        try:
            orchestrator = _built(self)
        except BaseException as error:  # noqa: BLE001 - the host's module may even exit
            return self._useless(f"the orchestrator cannot be built in a child process: {_told(error)}")
        try:
            report = orchestrator.perform(errand)
        except BaseException as error:  # noqa: BLE001 - a collector's own, which its turn could not end
            return Report(outcome=None, error=_told(error))
        return report if report.usable else self._useless(report.error)

    def _useless(self, why: str | None) -> Report:
        """No window can run here."""
        return Report(outcome=None, error=f"app {self.app!r}: {why}" if self.app else why, usable=False)

    def prepare(self) -> None:
        """Build the orchestrator before the first window needs it."""
        with suppress(BaseException):  # the call above says what was wrong
            _built(self)

    def build(self) -> Orchestrator:
        """The orchestrator. Raises :class:`ConfigurationError`."""
        if self.app is not None or self.url is None:
            return from_app(self.app or "")
        return connect(
            self.url,
            schema=self.schema,
            collector_role=self.collector_role,
            create=False,
            cipher=self.cipher,
            **asdict(self.settings),
        )


def _told(error: BaseException) -> str:
    return Masker().storable(error_text(error))


@cache
def _built(recipe: Recipe) -> Orchestrator:
    """A child builds once, and serves many windows."""
    return recipe.build()


def connect(
    engine_or_url: "Engine | str",
    *,
    collectors: Mapping[str, object] | None = None,
    extensions: Iterable[object] = (),
    clock: Callable[[], datetime] | None = None,
    resolve_env: ResolveEnv | None = None,
    catalog: Catalog | None = None,
    cipher: Cipher | MakeCipher | None = None,
    locks: Locks | None = None,
    state: State | None = None,
    executor: Executor | None = None,
    app: str | None = None,
    concurrency: int = 4,
    lease_ttl: Seconds = DEFAULT_TTL,
    retry_delay: Seconds = FIRST_DELAY,
    window_timeout: Seconds | None = None,
    grace: Seconds = timedelta(seconds=30),
    schema: str | None = None,
    collector_role: str | None = None,
    create: bool = True,
) -> Orchestrator:
    """An orchestrator on a PostgreSQL engine or URL, or on a SQLite URL.

    A host's engine is used, never disposed or configured; an engine made from a URL is disposed by ``close()``.
    ``schema`` is the PostgreSQL schema of our tables (default: the connection's own), ``collector_role`` the role
    that collectors' transactions run as (``SET LOCAL ROLE``). ``create`` False refuses a SQLite file that is not
    there. ``cipher``, or a function that makes one, encrypts stored secrets. The other parts replace a default.

    With an ``executor`` of other processes, ``app`` (``module:attribute``) is this orchestrator, or what returns it,
    for the children; a URL, and a function for the cipher, need none. Nothing connects before the first call.
    Raises :class:`ConfigurationError` for what can never work.
    """
    from tenantcollect.backends.sql import SqlBackend

    settings = Settings(
        concurrency=concurrency,
        lease_ttl=lease_ttl,
        retry_delay=retry_delay,
        window_timeout=window_timeout,
        grace=grace,
    )
    make, given = _cipher(cipher, catalog)
    extensions, encrypts = tuple(extensions), make() if make else given
    objects = (app, collectors, extensions or None, clock, resolve_env, catalog, locks, state, given)
    url = engine_or_url if isinstance(engine_or_url, str) and objects.count(None) == len(objects) else None
    recipe = partial(Recipe, schema=schema, collector_role=collector_role, settings=settings, cipher=make)
    backend = SqlBackend(engine_or_url, schema=schema, collector_role=collector_role, create=create, cipher=encrypts)
    return Orchestrator(
        state=state or backend.state,
        locks=locks or backend.locks,
        catalog=catalog or backend.catalog,
        collectors=collectors,
        extensions=extensions,
        clock=clock,
        resolve_env=resolve_env,
        executor=executor,
        perform=recipe(app=app, url=url) if _elsewhere(executor, app) else None,
        schema=backend.schema,
        diagnosis=backend.diagnosis,
        on_close=backend.close,
        **asdict(settings),
    )


def _cipher(cipher: Cipher | MakeCipher | None, catalog: Catalog | None) -> tuple[MakeCipher | None, Cipher | None]:
    """Either a function that makes the cipher, and may travel, or the cipher itself, which may not."""
    if catalog is not None and cipher is not None:
        raise ConfigurationError("a cipher encrypts our own tables; with a catalog of your own, encrypt there")
    return (cipher, None) if callable(cipher) else (None, cipher)


def _elsewhere(executor: Executor | None, app: str | None) -> bool:
    """Whether ``executor`` runs its calls where the objects of this process do not reach."""
    told = app is not None or isinstance(executor, ProcessPoolExecutor)
    return executor is not None and (told or getattr(executor, "elsewhere", False))
