"""A TCP proxy that counts the bytes that pass through it, in both directions together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from local.ports import LOOPBACK

_BLOCK_BYTES: Final = 64 * 1024


class CountingProxy:
    """Forwards to a port on this machine and listens on ``port``.

    ``passed`` is the number of bytes so far, without TCP's own overhead.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        self.passed = 0

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target)
        await asyncio.gather(self._pipe(reader, far_writer), self._pipe(far_reader, writer))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while block := await reader.read(_BLOCK_BYTES):
                self.passed += len(block)
                writer.write(block)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def counting_proxy(target: int) -> AsyncIterator[CountingProxy]:
    """Open a proxy to the port ``target`` for the block."""
    proxy = CountingProxy(target)
    server = await asyncio.start_server(proxy.forward, LOOPBACK, 0)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy
