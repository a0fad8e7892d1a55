"""A proxy between the workers and the server that cuts connections exactly around a COMMIT."""

import asyncio
import re
import threading
from collections import Counter, deque
from contextlib import suppress
from enum import StrEnum

__all__ = ["Cut", "Proxy"]

CHUNK = 1 << 16
LONGEST_REPLY = 5.0
# The seal's own COMMIT, and the one statement that seals a window without rows and commits itself.
COMMIT = re.compile(rb"COMMIT(?!TED)|INSERT INTO [^;]*_run_history")


class Cut(StrEnum):
    """What becomes of a COMMIT whose connection is cut."""

    REPLY_LOST = "reply lost"
    NEVER_SENT = "never sent"
    SENT_LATE = "sent late"


class Proxy:
    """Listens on a port of its own, in a thread of its own; each order to cut meets the next COMMIT that passes."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._orders: deque[tuple[Cut, float]] = deque()
        self._loop = asyncio.new_event_loop()
        self._handlers: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storm-proxy", daemon=True)
        self.done: Counter[Cut] = Counter()
        self.port = 0

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def cut(self, how: Cut, late: float = 0.0) -> None:
        """Cut the connection of the next COMMIT; ``late`` seconds is how long one that is sent late lingers."""
        self._orders.append((how, late))

    def calm(self) -> None:
        """Forget the orders that met no COMMIT."""
        self._orders.clear()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for handler in self._handlers:
                handler.cancel()
            self._loop.run_until_complete(asyncio.gather(*self._handlers, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            # The server of asyncio takes a handler that was cancelled for one that failed.
            with suppress(OSError, asyncio.CancelledError):
                await self._join(client, to_client)
        finally:
            self._handlers.discard(task)
            to_client.transport.abort()

    async def _join(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        back = asyncio.create_task(_pour(server, to_client))
        try:
            while chunk := await client.read(CHUNK):
                if self._orders and COMMIT.search(chunk):
                    await self._cut(chunk, server, to_server, to_client, back)
                    return
                to_server.write(chunk)
                await to_server.drain()
        finally:
            back.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await back
            to_server.transport.abort()

    async def _cut(
        self,
        chunk: bytes,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        to_client: asyncio.StreamWriter,
        back: "asyncio.Task[None]",
    ) -> None:
        """End the client's connection, and let its COMMIT happen or not."""
        how, late = self._orders.popleft()
        self.done[how] += 1
        back.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await back
        to_client.transport.abort()
        if how is Cut.NEVER_SENT:
            return
        await asyncio.sleep(late)
        to_server.write(chunk)
        with suppress(TimeoutError):
            await asyncio.wait_for(server.read(CHUNK), LONGEST_REPLY)


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on until one side ends, then end the other."""
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.transport.abort()
