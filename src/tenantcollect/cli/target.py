"""Which orchestrator a command speaks to: a database by URL, or the host's own app (floor: cli)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from typer import Context

from tenantcollect.cli.environment import environment_cipher, text_of
from tenantcollect.cli.streams import aside

if TYPE_CHECKING:
    from sqlalchemy import URL

    from tenantcollect.ciphers import Cipher
    from tenantcollect.orchestrator import Orchestrator
    from tenantcollect.settings import Settings

DEFAULT_URL = "sqlite:///tenantcollect.db"
THREADS = "threads"
URL_VARIABLE = "TENANTCOLLECT_DATABASE_URL"


@dataclass(kw_only=True, slots=True)
class Target:
    """The global options, and what makes the cipher of a database.

    ``command`` is how a next command begins that means the same database; ``hidden`` collects the values that
    no error of this command may show. ``whole`` = the command is all that the process is for,
    ``apart`` = the process is a child that ends with it.
    """

    url: str = DEFAULT_URL
    app: str | None = None
    command: str = "tenantcollect"
    hidden: list[str] = field(default_factory=list)
    cipher: "Callable[[], Cipher | None]" = environment_cipher
    whole: bool = False
    apart: bool = False

    def choose(self, url: str, app: str | None, *, on_command_line: bool) -> None:
        """Take the global options.

        Raises :class:`ConfigurationError` for a password on the command line (every user of the machine could
        read it), and for both a URL and an app.
        """
        from tenantcollect.errors import ConfigurationError

        if on_command_line and _tells_password(url):
            raise ConfigurationError(
                "a password in --database-url can be read by every user of this machine; set "
                f"{URL_VARIABLE}, or write the URL to a file and give --database-url @FILE"
            )
        if on_command_line and app is not None:
            raise ConfigurationError("give --database-url or --app, not both: the app brings its own database")
        if on_command_line:
            self.command = f"tenantcollect --database-url {quote(url)}"
        elif app is not None:
            self.command = f"tenantcollect --app {quote(app)}"
        self.url, self.app = text_of("--database-url", url), app

    def database_file(self) -> Path | None:
        """The file of a SQLite database; None for any other. Raises :class:`ConfigurationError`."""
        from tenantcollect.backends.sql.sqlite import checked_file
        from tenantcollect.errors import ConfigurationError

        url = _parsed(self.url)
        if url is None:
            raise ConfigurationError(
                f"the database URL cannot be read; write {DEFAULT_URL} or postgresql+psycopg://user@host/name"
            )
        file = checked_file(url) if url.get_backend_name() == "sqlite" else None
        if file is not None and file.is_dir():
            raise ConfigurationError(f"{file} is a folder; give the database URL the name of a file in it")
        return file

    @property
    def missing(self) -> bool:
        """Whether the database is a SQLite file that is not there yet, or is empty."""
        if self.app is not None:
            return False
        file = self.database_file()
        return file is not None and not (file.exists() and file.stat().st_size)

    @contextmanager
    def orchestrator(
        self, *, create: bool = False, executor: str | None = None, settings: "Settings | None" = None
    ) -> Iterator["Orchestrator"]:
        """The orchestrator for one command; other people's code runs in here only, and its output is aside.

        None = the library's own default. Raises :class:`SchemaNotCurrent` for a SQLite file that is not there,
        unless ``create``.
        """
        from tenantcollect.cli.logs import logs_to_stderr
        from tenantcollect.errors import SchemaNotCurrent

        if self.missing and not create:
            raise SchemaNotCurrent(
                f"there is no database {self.database_file()}; set {URL_VARIABLE} or --database-url, "
                "or make it: tenantcollect db upgrade"
            )
        with aside(), self._connected(create, executor, settings) as orchestrator:
            logs_to_stderr()
            yield orchestrator

    @contextmanager
    def _connected(self, create: bool, executor: str | None, settings: "Settings | None") -> Iterator["Orchestrator"]:
        from attrs import asdict

        from tenantcollect.apps import from_app
        from tenantcollect.compose import connect
        from tenantcollect.registry import installed_executor
        from tenantcollect.settings import Settings

        if self.app is not None:
            with from_app(self.app) as orchestrator:
                yield orchestrator
            return
        threads = executor in (None, THREADS)
        chosen = asdict(settings or Settings())
        with (
            nullcontext() if threads else installed_executor(executor or "")() as place,
            connect(self.url, create=create, cipher=self.cipher, executor=place, **chosen) as orchestrator,
        ):
            yield orchestrator


def _parsed(url: str) -> "URL | None":
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        return None


def _tells_password(url: str) -> bool:
    """Whether a password stands in ``url``, however it is spelt; also where the URL as a whole cannot be read."""
    from tenantcollect.secrets import holds_password

    parsed = _parsed(url)
    read = parsed is not None and (parsed.password or any(holds_password(f"?{name}=") for name in parsed.query))
    return bool(read or holds_password(url))


def target_of(context: Context) -> Target:
    """The global options of this command line."""
    target = context.find_object(Target)
    if target is None:
        raise LookupError("the command was started without its global options")
    return target


def database_of(orchestrator: "Orchestrator") -> str:
    """The database of an orchestrator, its password hidden."""
    return orchestrator.schema.described() if orchestrator.schema else "the app's own state"
