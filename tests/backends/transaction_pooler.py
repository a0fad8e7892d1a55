"""A pooler that lends a server's connection for one transaction, as PgBouncer does; just enough of the protocol."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import URL

SOCKET = ".s.PGSQL.5432"
ENDS_A_REQUEST = b"QSXf"


class Pooler:
    """Serves clients on one Unix socket from connections to another, the one released last first."""

    def __init__(self, server: str, listener: socket.socket) -> None:
        self.server, self.listener = server, listener
        self.greeting = b""
        self.idle: list[socket.socket] = []
        self.opened: list[socket.socket] = [listener]

    def serve(self) -> None:
        """Until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.opened.append(client)
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with suppress(OSError, struct.error):
            (length,) = struct.unpack("!i", _read(client, 4))
            startup = struct.pack("!i", length) + _read(client, length - 4)
            server = self.idle.pop() if self.idle else self._connected(startup)
            client.sendall(self.greeting)
            while True:
                self.idle.append(server)
                kind, message = _message(client)
                server = self.idle.pop() if self.idle else self._connected(startup)
                while True:
                    server.sendall(message)
                    if kind in ENDS_A_REQUEST and _relay(server, client) == b"I":
                        break
                    kind, message = _message(client)

    def _connected(self, startup: bytes) -> socket.socket:
        """A new connection; the process that a client is told of is none of the server's."""
        server = socket.socket(socket.AF_UNIX)
        self.opened.append(server)
        server.connect(self.server)
        server.sendall(startup)
        told = b""
        while True:
            kind, message = _message(server)
            told += b"K" + struct.pack("!iii", 12, 1, 1) if kind == b"K" else message
            if kind == b"Z":
                self.greeting = told
                return server


def _message(source: socket.socket) -> tuple[bytes, bytes]:
    kind, length = _read(source, 1), _read(source, 4)
    return kind, kind + length + _read(source, struct.unpack("!i", length)[0] - 4)


def _relay(server: socket.socket, client: socket.socket) -> bytes:
    """Everything up to ReadyForQuery; whether a transaction is open then."""
    while True:
        kind, message = _message(server)
        client.sendall(message)
        if kind == b"Z":
            return message[5:]


def _read(source: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = source.recv(size - len(found))
        if not part:
            raise ConnectionResetError
        found += part
    return found


@contextmanager
def pooled(url: URL, folder: Path) -> Iterator[URL]:
    """The URL of the same database through a pooler whose socket is in ``folder``."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / SOCKET))
        listener.listen()
        pooler = Pooler(f"{url.query['host']}/{SOCKET}", listener)
        threading.Thread(target=pooler.serve, daemon=True).start()
        try:
            yield url.update_query_dict({"host": str(folder)})
        finally:
            for each in pooler.opened:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
