"""A connection of the server without a network, so that a test decides where input is split."""

import asyncio
import json
import re
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from service_kit.http.protocol import HttpProtocol

REFUSED = "refused"
"""Stands for the content of a response that the server itself wrote."""


class Wire(asyncio.Transport):
    """The transport of one connection, whose client reads everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.changed = asyncio.Event()
        self._closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def write(self, data: Any) -> None:
        assert not self._closing, "the connection is already closed"
        self.written += data
        self.changed.set()

    def close(self) -> None:
        self._closing = True
        self.changed.set()

    abort = write_eof = close

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self, *_: int | None, **__: int | None) -> None:
        """Do nothing: all input arrives, and everything is sent at once."""

    resume_reading = set_write_buffer_limits = pause_reading


@dataclass
class Conversation:
    """The requests that reached the application, and the responses."""

    ran: list[dict[str, str]] = field(default_factory=list)
    responses: list[Any] = field(default_factory=list)
    closed: bool = False


async def converse(pieces: Iterable[bytes], *, expected: int) -> Conversation:
    """Send ``pieces`` on one connection.

    The application echoes method, path and body. Returns after ``expected`` final responses, or
    when the connection is closed.
    """
    conversation = Conversation()

    async def echo(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        body, more = b"", scope["path"] != "/early"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        request = {"method": scope["method"], "path": scope["path"], "body": body.decode("latin-1")}
        conversation.ran.append(request)
        text = json.dumps(request).encode()
        length = (b"content-length", b"%d" % len(text))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": text})

    wire = Wire()
    config = Config(echo, log_config=None, access_log=False)
    protocol = HttpProtocol(config, ServerState(), {}, _loop=asyncio.get_running_loop())
    protocol.connection_made(wire)
    for piece in pieces:
        if wire.is_closing():
            break
        protocol.data_received(piece)
        await asyncio.sleep(0)  # let the application run between two pieces
    async with asyncio.timeout(20):
        while wire.written.count(b"HTTP/1.1 ") < expected and not wire.is_closing():
            wire.changed.clear()
            await wire.changed.wait()
        # Informational responses were counted, too.
        while (
            len(responses := _responses(bytes(wire.written))) < expected and not wire.is_closing()
        ):
            wire.changed.clear()
            await wire.changed.wait()
    conversation.responses, conversation.closed = responses, wire.is_closing()
    protocol.connection_lost(None)
    return conversation


def _responses(written: bytes) -> list[Any]:
    """Return all final responses; that to a HEAD has no body."""
    responses: list[Any] = []
    while written:
        head, found, rest = written.partition(b"\r\n\r\n")
        if not found:
            break
        status = int(head.split(b" ", 2)[1])
        if status >= 200:
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            is_whole = not rest.startswith(b"HTTP/") and rest
            body = rest[: int(length[1])] if is_whole else b""
            rest = rest[len(body) :]
            responses.append(
                json.loads(body) if status == 200 and body else (status, body and REFUSED)
            )
        written = rest
    return responses
