"""A small HTTP client, because the load generator shares the cores with what it measures.

Guarantees: one kept-alive connection; a response with an unexpected status raises. It understands
the responses of our own services and no more of HTTP/1.1 than they need.
"""

import asyncio
import json
import re
from typing import Final, Self

from local.ports import LOOPBACK

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_READ_BYTES: Final = 64 * 1024


class UnexpectedResponse(Exception):
    """A response that is incomplete or has an unexpected status; the message is the response."""


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
        response = b""
        head, end, content = response.partition(_HEAD_END)
        while not end or len(content) < _length(head):
            received = await self._reader.read(_READ_BYTES)  # mostly all of it
            if not received:
                raise UnexpectedResponse(f"{response.decode()} and no more")
            response += received
            head, end, content = response.partition(_HEAD_END)
        if int(head.split(maxsplit=2)[1]) != expected:
            raise UnexpectedResponse(response.decode())


def _length(head: bytes) -> int:
    found = _LENGTH.search(head)
    assert found is not None  # our services send it
    return int(found[1])
