"""A TCP proxy between a client and a server that a test can cut, refuse or make silent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Forwards to ``host:port`` from a port of its own on loopback."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._answers = asyncio.Event()
        self._answers.set()
        self._requests = asyncio.Event()
        self._requests.set()
        self._refusing = False
        self.port = 0

    async def open(self) -> None:
        """Start to listen."""
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Cut everything and stop to listen."""
        self._answers.set()
        self._requests.set()
        self.cut()
        if self._server:
            self._server.close()

    def cut(self) -> None:
        """End every connection at once."""
        for writer in list(self._writers):
            writer.transport.abort()

    def refuse(self, refusing: bool = True) -> None:
        """Cut every connection and refuse new ones, or accept them again."""
        self._refusing = refusing
        if refusing:
            self.cut()

    def swallow_answers(self, swallowing: bool = True) -> None:
        """Hold back what the server says, from now on: it hears, and its answers are lost."""
        if swallowing:
            self._answers.clear()
        else:
            self._answers.set()

    def swallow_requests(self, swallowing: bool = True) -> None:
        """Hold back what the client says, from now on: its acknowledgements are lost."""
        if swallowing:
            self._requests.clear()
        else:
            self._requests.set()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(
                self._pipe(reader, far_writer, self._requests),
                self._pipe(far_reader, writer, self._answers),
            )
        finally:
            for end in (writer, far_writer):
                self._writers.discard(end)
                end.transport.abort()

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await passing.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def proxy_to(host: str, port: int) -> AsyncIterator[Proxy]:
    """A proxy that is open inside the block."""
    proxy = Proxy(host, port)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
