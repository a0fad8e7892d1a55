"""A transaction pooler between the workers and the server, where pgbouncer is installed (X08)."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.acceptance.storm.server import NoServer, Server, ServerFailed, free_port

__all__ = ["pooling"]

PATIENCE = 10.0
SETTINGS = """
[databases]
* = host=127.0.0.1 port={server} user=storm
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
max_client_conn = 1000
default_pool_size = 40
server_login_retry = 1
query_wait_timeout = 20
"""


@contextmanager
def pooling(server: Server, folder: Path, mode: str = "transaction") -> Iterator[int]:
    """The port of a pooler that gives each transaction whichever connection is free; raises :class:`NoServer`.

    ``mode`` is what it shares connections by: ``session``, ``transaction`` or ``statement``.
    """
    program = shutil.which("pgbouncer")
    if program is None:
        raise NoServer("pgbouncer is not on PATH")
    port, settings = free_port(), folder / "pgbouncer.ini"
    settings.write_text(SETTINGS.format(server=server.port, port=port, mode=mode), encoding="utf-8")
    with (folder / "pgbouncer.log").open("ab") as log:
        process = subprocess.Popen([program, settings], user=server.user, cwd="/", stdout=log, stderr=log)
    try:
        _await(port)
        yield port
    finally:
        process.kill()
        process.wait()


def _await(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise ServerFailed("pgbouncer does not listen")
