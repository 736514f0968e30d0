"""Serve an HTTP/1.1 connection: exactly one response to each request, or a closed connection.

uvicorn with httptools buffers a request's head without limit, parses pipelined requests before
their turn, loses its place at an offered upgrade, and waits indefinitely for a slow reader.
Here a connection has one request at a time: a parser gets one message and no byte beyond it, and a
new parser gets the next message after the client has read the response. Size and time are limited.
Beyond a limit the server sends a problem document, unless the client could take it for another
response, and closes the connection.

Guarantees: one read from a connection keeps the event loop busy for milliseconds, for any
input. No content of a message changes how the next one is read. Fields after a chunked body
(trailers) never become headers (RFC 9110 6.5.1).

Not here: limits on bodies (``body_limits``), which are the application's. Why this is not the
library's own class: ``docs/decisions/0021``.
"""

import asyncio
import json
from typing import Any, ClassVar, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service_kit.http import problems
from service_kit.http.heads import (
    HEAD_END,
    BadHead,
    body_length,
    path_and_query,
    refusal,
    without_offers,
)
from service_kit.http.problems import MEDIA_TYPE, Code, Problem
from service_kit.http.product import request_urn
from service_kit.process.telemetry import new_request_id

HEAD_SECONDS_MAX: Final = 10.0
"""From the first byte of a head to its end; and for the rest of a body after its response."""

IDLE_SECONDS_MAX: Final = 5.0
"""Until a connection's first byte, and between a response and the next request. A proxy in front
must close its idle connections sooner."""

ON_ITS_WAY_SECONDS_MAX: Final = 0.5
"""For a request that was sent before the client could know of the shutdown: a slow round trip."""

WRITING_SECONDS_MAX: Final = 30.0
"""Within this time a client must read ``WRITTEN_BYTES_MIN`` of the unsent data. The whole response
has no limit: a streamed one lasts minutes."""

WRITTEN_BYTES_MIN: Final = 16 * 1024
"""A client that reads less is cut off: a few bytes a minute would occupy a connection for days."""

LINGER_SECONDS_MAX: Final = 2.0
"""After the last response, while the client is still sending; the data is dropped. Closing at once
would reset the connection, and the reset may overtake the response."""

CONNECTIONS_MAX: Final = 900
"""At once, over all clients. A process may have 1,024 open files by default on Linux, and the
database's connections need some of them."""

READING_BYTES_MAX: Final = 64 * 1024
"""From one connection before others have their turn; uvloop would continue for 8 MB. Pipelined
requests wait unparsed, and reading stops meanwhile: the wait is limited in bytes, and no valid
request is refused for the content of its body."""

FRAMING_BYTES_MAX: Final = 48 * 1024
"""Of a chunked body without its content: sizes, extensions, trailers, and ``PIECE_COST`` for each
piece that the parser gets. 64 KiB in chunks of one byte would cost a call for each byte."""

PIECE_BYTES_MAX: Final = 16 * 1024
PIECE_COST: Final = 8


class _Closing:
    """The transport for uvicorn; the protocol decides how to close it."""

    def __init__(self, transport: asyncio.Transport, protocol: "HttpProtocol") -> None:
        self._transport = transport
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        self._protocol.end()

    def is_closing(self) -> bool:
        return self._protocol.is_over or self._transport.is_closing()


class HttpProtocol(HttpToolsProtocol):
    """One connection; uvicorn makes an instance for each."""

    head_seconds_max: ClassVar[float] = HEAD_SECONDS_MAX
    idle_seconds_max: ClassVar[float] = IDLE_SECONDS_MAX
    writing_seconds_max: ClassVar[float] = WRITING_SECONDS_MAX
    connections_max: ClassVar[int] = CONNECTIONS_MAX

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_over = False
        self._socket: asyncio.Transport
        self._unparsed = bytearray()
        self._reads_head = True
        self._is_ahead = False
        self._body_left: int | None = 0  # None: it comes in chunks
        self._framing_bytes = 0
        self._framing_code = problems.BODY_TOO_LARGE
        self._keeps_alive = True
        self._awaited: str | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._unsent = 0
        self._stalled: asyncio.TimerHandle | None = None

    # What the transport calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, unless there are too many."""
        self._socket = transport
        super().connection_made(cast(asyncio.Transport, _Closing(transport, self)))
        # Writing is paused for as long as anything is unsent, so that its progress can be seen.
        transport.set_write_buffer_limits(high=0)
        if len(self.connections) > self.connections_max:
            self._refuse(problems.BUSY, lingers=False)
        else:
            self._await_client()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        for timer in (self._deadline, self._stalled):
            if timer is not None:
                timer.cancel()
        self._unparsed.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Buffer the data, and parse the messages whose turn it is."""
        if len(data) > READING_BYTES_MAX:
            self._socket.pause_reading()
            self.loop.call_soon(self._read_on)
        if not self.is_over:
            self._unparsed += data
            self._advance()

    def pause_writing(self) -> None:
        """Watch the client read the unsent data."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Let the next request have its turn: all data is sent."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        self._go_on()

    # What the parser calls

    def on_message_begin(self) -> None:
        """Begin a request; refuse one that begins while a response is due."""
        if self._owes_response():
            raise BadHead
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; drop a trailer."""
        if self._reads_head:
            super().on_header(name, value)
        else:
            self._framing_code = problems.HEADERS_TOO_LARGE

    def on_headers_complete(self) -> None:
        """Check the complete head, and start the application."""
        version = self.parser.get_http_version()
        self._body_left = body_length(version, self.headers)
        if self.parser.should_upgrade():  # CONNECT: what follows would be no HTTP
            raise BadHead
        self.url = path_and_query(self.url)
        if version == "1.0" or self._body_left == 0:  # RFC 9110 10.1.1
            self.expect_100_continue = False
        super().on_headers_complete()
        self._reads_head = self._is_ahead = False
        self._framing_bytes = 0
        self._framing_code = problems.BODY_TOO_LARGE
        self._keeps_alive = self.cycle.keep_alive
        if self.expect_100_continue:
            # If the response comes before the body, it is unknown whether the body still comes.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body."""
        self._framing_bytes -= len(body)
        if self.expect_100_continue and not self.cycle.response_started:
            self.cycle.keep_alive = self._keeps_alive
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect a head next: the request is complete."""
        self._reads_head = True
        super().on_message_complete()

    # What the application's side calls

    def on_response_complete(self) -> None:
        """Continue with the next request; the client may still have to read this response."""
        self._go_on()

    # What the server calls

    def shutdown(self) -> None:
        """Close the connection after the current request, or soon if there is none.

        A request whose head has arrived in part is a current one; the server has every response to
        it close the connection. One may also be on its way.
        """
        if self.transport.is_closing() or self._awaited == "head":
            return
        if self._awaited == "request":
            assert self._deadline is not None
            self._deadline.cancel()
            self._deadline = self.loop.call_later(ON_ITS_WAY_SECONDS_MAX, self._is_late)
        else:
            super().shutdown()

    # Reading

    def _go_on(self) -> None:
        if not self.transport.is_closing() and not self._owes_response():
            self.flow.resume_reading()
            self._advance()

    def _read_on(self) -> None:
        if not self.flow.read_paused and not self._socket.is_closing():
            self._socket.resume_reading()

    def _advance(self) -> None:
        """Parse message by message, as long as no response is due."""
        is_parsing = True
        while is_parsing and self._unparsed and not self.transport.is_closing():
            if not self._reads_head:
                is_parsing = self._read_body()
            elif self._owes_response():
                self._is_ahead = True
                self.flow.pause_reading()
                is_parsing = False
            else:
                is_parsing = self._read_head()
        if not self.transport.is_closing():
            self._await_client()

    def _owes_response(self) -> bool:
        return self.cycle is not None and (
            not self.cycle.response_complete or self.flow.write_paused
        )

    def _read_head(self) -> bool:
        """Parse the next head if it is complete; return whether there is more to parse."""
        begun = self._unparsed[: PIECE_BYTES_MAX + 1]  # all of it would be copied for each request
        start = len(begun) - len(begun.lstrip(b"\r\n"))
        end = self._unparsed.find(HEAD_END, start)
        size = len(self._unparsed) if end < 0 else end + len(HEAD_END)
        code = problems.HEADERS_TOO_LARGE if start > PIECE_BYTES_MAX else None
        if code := code or refusal(bytes(self._unparsed[start:size])):
            self._refuse(code)
        elif end >= 0:
            head = self._take(size)[start:]
            self.parser = httptools.HttpRequestParser(self)
            self._parse(without_offers(head))
        return end >= 0

    def _read_body(self) -> bool:
        """Parse the next piece of the body and no more; return whether there is more to parse."""
        if self._body_left is not None:
            size = min(self._body_left, len(self._unparsed))
            self._body_left -= size
            self._parse(self._take(size))
            return True
        # A chunked body ends with an empty line. An empty line in its content is harmless; one that
        # has arrived in part is held back.
        length = min(len(self._unparsed), PIECE_BYTES_MAX)
        end = self._unparsed.find(HEAD_END, 0, length) + len(HEAD_END)
        size = end if end >= len(HEAD_END) else length - len(HEAD_END) + 1
        if size <= 0:
            return False
        self._framing_bytes += size + PIECE_COST
        self._parse(self._take(size))
        if self._framing_bytes > FRAMING_BYTES_MAX:
            self._refuse(self._framing_code, lingers=False)
        return True

    def _take(self, size: int) -> bytes:
        taken = bytes(self._unparsed[:size])
        del self._unparsed[:size]
        return taken

    def _parse(self, piece: bytes) -> None:
        try:
            self.parser.feed_data(piece)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(problems.MALFORMED_REQUEST)

    # Waiting

    def _await_client(self) -> None:
        """Set the deadline for the next part of the request, if that part has changed."""
        if not self._reads_head:
            awaited = "rest" if self.cycle.response_complete else None
        elif self._owes_response():
            awaited = None
        else:
            awaited = "head" if self._unparsed else "request"
        if awaited == self._awaited:
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._awaited = awaited
        if awaited is not None:
            seconds = self.idle_seconds_max if awaited == "request" else self.head_seconds_max
            self._deadline = self.loop.call_later(seconds, self._is_late)

    def _is_late(self) -> None:
        if self._awaited == "head":
            self._is_ahead = False  # the earlier requests have their responses
            self._refuse(problems.REQUEST_TIMEOUT)
        else:  # no request, or it has its response
            self._socket.close()

    def _watch_reader(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(self.writing_seconds_max, self._has_it_read)

    def _has_it_read(self) -> None:
        if self.transport.get_write_buffer_size() > self._unsent - WRITTEN_BYTES_MIN:
            self.transport.abort()
        else:
            self._watch_reader()

    # Refusing

    def _refuse(self, code: Code, *, lingers: bool = True) -> None:
        """Respond, unless that could pass for the response to another request, and close."""
        if self.transport.is_closing():
            return
        # Pipelined data that is not a request may be the end of one that a proxy read differently.
        if not (self._is_ahead if self._reads_head else self.cycle.response_started):
            self.transport.write(_refusal(code))
        else:
            lingers = False
        self.end(lingers=lingers)
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def end(self, *, lingers: bool | None = None) -> None:
        """Close both directions, or by default only ours while the client is sending."""
        if self.transport.is_closing():
            return
        if lingers is None:
            lingers = not self._reads_head or bool(self._unparsed)
        if not lingers:
            self._socket.close()
            return
        self.is_over = True
        self._unparsed.clear()
        self._socket.write_eof()
        self.flow.resume_reading()
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(LINGER_SECONDS_MAX, self._socket.close)


def _refusal(code: Code) -> bytes:
    """Make the complete response, with the headers that ``middleware`` would add."""
    request = new_request_id()
    problem = Problem(code).document() | {"instance": request_urn(request)}
    body = json.dumps(problem).encode()
    head = (
        f"content-type: {MEDIA_TYPE}\r\n"
        f"content-length: {len(body)}\r\n"
        "cache-control: no-store\r\n"
        "x-content-type-options: nosniff\r\n"
        f"x-request-id: {request}\r\n"
        "connection: close\r\n\r\n"
    )
    return STATUS_LINE[code.status] + head.encode() + body
