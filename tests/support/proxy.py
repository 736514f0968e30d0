"""A TCP proxy that counts bytes, and can close connections, refuse them, or hold back data."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Forwards to ``host:port`` from a free port on the loopback interface.

    A ``host`` that is a path is the folder of a PostgreSQL server's socket.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._forwarding: set[asyncio.Task[None]] = set()
        self._answers = asyncio.Event()
        self._answers.set()
        self._requests = asyncio.Event()
        self._requests.set()
        self._refusing = False
        self.port = 0
        self.forwarded = 0  # bytes, in both directions
        self.accepted = 0  # connections

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Close all connections and stop listening."""
        self._answers.set()
        self._requests.set()
        if self._server:
            self._server.close()
        self.cut()
        # Otherwise the event loop could end first and leave sockets open.
        await asyncio.gather(*self._forwarding, return_exceptions=True)

    def cut(self) -> None:
        """Abort every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def refuse(self, refusing: bool = True) -> None:
        """Abort every connection and refuse new ones, or accept them again."""
        self._refusing = refusing
        if refusing:
            self.cut()

    def move(self, host: str, port: int) -> None:
        """Abort every connection and forward new ones to another server."""
        self._target = (host, port)
        self.cut()

    def swallow_answers(self, swallowing: bool = True) -> None:
        """Hold back what the server sends, or release it; requests still arrive."""
        if swallowing:
            self._answers.clear()
        else:
            self._answers.set()

    def swallow_requests(self, swallowing: bool = True) -> None:
        """Hold back what the client sends, such as acknowledgements, or release it."""
        if swallowing:
            self._requests.clear()
        else:
            self._requests.set()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        forwarding = asyncio.ensure_future(self._connect(reader, writer))
        self._forwarding.add(forwarding)
        forwarding.add_done_callback(self._forwarding.discard)
        await forwarding

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.accepted += 1
        try:
            if self._refusing:
                return
            with suppress(OSError):
                far_reader, far_writer = await _open(*self._target)
                self._writers.add(far_writer)
                try:
                    await asyncio.gather(
                        self._pipe(reader, far_writer, self._requests),
                        self._pipe(far_reader, writer, self._answers),
                    )
                finally:
                    self._writers.discard(far_writer)
                    far_writer.transport.abort()
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await passing.wait()
                self.forwarded += len(data)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


async def _open(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)


@asynccontextmanager
async def proxy_to(host: str, port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(host, port)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
