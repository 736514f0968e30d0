"""A server that publishes a configurable key set and records its requests."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from contracts.tokens.keys import jwks

PATH = "/.well-known/jwks.json"


class KeySource:
    """Responds to each request with the current ``status``, ``headers`` and ``body``."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.headers: dict[str, str] = {}
        self.body = b""
        self.requests: list[dict[str, str]] = []
        self.is_down = False
        self.drips = False
        self.port = 0
        self._may_respond = asyncio.Event()
        self._may_respond.set()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    @property
    def fetches(self) -> int:
        """Return the number of requests, with or without a response."""
        return len(self.requests)

    def publish(self, *keys: RSAPrivateKey, max_age: int = 300, etag: bool = False) -> None:
        """Publish the public halves of ``keys``."""
        self.publish_json(jwks(*(key.public_key() for key in keys)), max_age=max_age)
        if etag:
            self.headers["ETag"] = f'"{hashlib.sha256(self.body).hexdigest()}"'

    def publish_json(self, document: Any, *, max_age: int = 300) -> None:
        self.status = "200 OK"
        self.body = json.dumps(document).encode()
        self.headers = {"Cache-Control": f"public, max-age={max_age}, must-revalidate"}

    def hold(self, holding: bool = True) -> None:
        """Delay all responses, or release them."""
        if holding:
            self._may_respond.clear()
        else:
            self._may_respond.set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._serve(reader, writer))
        self._connections[serving] = writer
        serving.add_done_callback(self._connections.pop)

    async def close(self) -> None:
        self.hold(False)
        for writer in self._connections.values():
            writer.transport.abort()
        await asyncio.gather(*self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
                sent = dict(line.split(": ", 1) for line in lines)
                self.requests.append({name.lower(): value for name, value in sent.items()})
                if self.is_down:
                    break
                await self._respond(writer, self.requests[-1])
        writer.transport.abort()

    async def _respond(self, writer: asyncio.StreamWriter, request: dict[str, str]) -> None:
        status, headers, body = self.status, dict(self.headers), self.body
        if request.get("if-none-match", "") == headers.get("ETag"):
            status, body = "304 Not Modified", b""
        await self._may_respond.wait()
        if "Transfer-Encoding" not in headers:
            headers["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status}\r\n{head}\r\n".encode())
        for octet in body if self.drips else b"":
            writer.write(bytes([octet]))
            await asyncio.sleep(0.02)  # the test is about slow responses
        writer.write(b"" if self.drips else body)
        await writer.drain()


@asynccontextmanager
async def key_source() -> AsyncIterator[KeySource]:
    """Run a source on a free port inside the block."""
    source = KeySource()
    server = await asyncio.start_server(source.accept, "127.0.0.1", 0)
    source.port = server.sockets[0].getsockname()[1]
    try:
        yield source
    finally:
        server.close()
        await source.close()
