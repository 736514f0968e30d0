"""A small HTTP client, because the load generator shares the cores with what it measures.

Guarantees: one kept-alive connection; a response with an unexpected status raises. It understands
the responses of our own services and no more of HTTP/1.1 than they need.
"""

import asyncio
import json
from typing import Self

from local.ports import LOOPBACK


class UnexpectedResponse(Exception):
    """A response with an unexpected status; the message is the response."""


class Connection:
    """One connection to a service on this machine."""

    def __init__(self, port: int, *, authorization: str | None = None) -> None:
        self._port = port
        self._common = f"Host: {LOOPBACK}\r\n"
        if authorization is not None:
            self._common += f"Authorization: {authorization}\r\n"

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(LOOPBACK, self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def get(self, path: str, expected: int) -> None:
        """GET ``path`` and check the status."""
        await self._request(f"GET {path} HTTP/1.1\r\n{self._common}\r\n".encode(), expected)

    async def post(self, path: str, body: dict[str, str], expected: int) -> None:
        """POST ``body`` as JSON to ``path`` and check the status."""
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\n{self._common}Content-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        await self._request(head.encode() + content, expected)

    async def _request(self, request: bytes, expected: int) -> None:
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.partition(":")[2])
            for line in head.splitlines()
            if line.lower().startswith("content-length:")
        )
        content = await self._reader.readexactly(length)
        if int(head.split()[1]) != expected:
            raise UnexpectedResponse(f"{head}{content.decode()}")
