"""The server's side of an HTTP/1.1 connection, with limits on what comes before an application.

uvicorn with httptools collects a request's head for as long as it grows and waits for its end for
as long as it takes. Here a head is limited in size, number of fields and time, and so is what a
connection may queue; beyond a limit it is answered with a problem document and closed.

Guarantees: whatever is sent, one reading from a connection keeps the event loop busy for
milliseconds; a refusal never lands in the middle of another answer; fields after a chunked body
(trailers) never become headers (RFC 9110 6.5.1).

Not here: limits on bodies (``body_limits``), since they are the application's.
"""

import asyncio
import json
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from contracts import problems
from contracts.problems import MEDIA_TYPE, Code, Problem
from contracts.telemetry import new_request_id

HEAD_BYTES_MAX: Final = 16 * 1024
"""Of a request line and its headers; the longest token that is read has 8 KiB."""

ADDRESS_BYTES_MAX: Final = 8 * 1024
"""Of the request line's address: what RFC 9110 4.1 asks servers to take. 16 KiB of parameters
would cost 15 ms to take apart."""

FIELDS_MAX: Final = 100
"""Headers in one request; browsers behind proxies send thirty. Each costs the parser a call."""

HEAD_SECONDS_MAX: Final = 10.0
"""From a connection, or the first byte of a further request, to the end of the head."""

CONNECTIONS_MAX: Final = 900
"""At once, over all callers. A process may have 1,024 files open by default on Linux, and the
database's connections are files too: without them no request would be answered at all."""

QUEUED_MAX: Final = 16
"""Requests that a connection may send ahead of the answers; hardly any client sends one."""

READING_BYTES_MAX: Final = 64 * 1024
"""From one connection before the others have their turn; uvloop would go on for 8 MB."""

PIECES_MAX: Final = 10_000
"""Pieces of one body; 64 KiB in chunks of one byte would cost the parser a call for each byte."""


class TooMuch(Exception):
    """Ends the parsing; why is kept in the protocol."""


class HttpProtocol(HttpToolsProtocol):
    """One connection; uvicorn makes an instance for each."""

    head_seconds_max: ClassVar[float] = HEAD_SECONDS_MAX
    connections_max: ClassVar[int] = CONNECTIONS_MAX

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refusal = problems.MALFORMED_REQUEST
        self._reads_head = True
        self._head_began = False
        self._head_bytes = 0
        self._parsed_bytes = 0
        self._pieces = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            self._refuse(problems.BUSY)
        else:
            self._expect_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was expected."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, by pieces of a head's size."""
        if len(data) > READING_BYTES_MAX:
            self.transport.pause_reading()
            self.loop.call_soon(self._read_on)
        for start in range(0, len(data), HEAD_BYTES_MAX):
            piece = data[start : start + HEAD_BYTES_MAX]
            self._head_began = False
            super().data_received(piece)
            if self.transport.is_closing():
                return
            # A field calls back only when it has ended; one that goes on and on never does.
            if self._reads_head and not self._head_began:
                self._head_bytes += len(piece)
                if self._head_bytes > HEAD_BYTES_MAX:
                    self._refuse(problems.HEADERS_TOO_LARGE)
                    return

    def on_message_begin(self) -> None:
        """A request begins."""
        if len(self.pipeline) >= QUEUED_MAX:
            raise TooMuch
        super().on_message_begin()
        self._head_began = True
        self._head_bytes = self._parsed_bytes = self._pieces = 0
        if self._deadline is None:
            self._expect_more()

    def on_url(self, url: bytes) -> None:
        """A part of the request's address."""
        self._parsed(len(url))
        if self._parsed_bytes > ADDRESS_BYTES_MAX:
            self._too_much(problems.HEADERS_TOO_LARGE)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        self._parsed(len(name) + len(value) + 4)
        if self._reads_head:
            if len(self.headers) >= FIELDS_MAX:
                self._too_much(problems.HEADERS_TOO_LARGE)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: the application takes over."""
        super().on_headers_complete()
        self._reads_head = False
        self._expect_nothing()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._pieces += 1
        if self._pieces > PIECES_MAX:
            self._too_much(problems.BODY_TOO_LARGE)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has come whole."""
        self._reads_head = True
        self._expect_nothing()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is out; a request that goes on after it may do so for a while."""
        super().on_response_complete()
        if not self._reads_head and self._deadline is None:
            self._expect_more()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser, or one of the limits, did not accept."""
        del msg  # it may quote what was sent
        self._refuse(self._refusal)

    def _read_on(self) -> None:
        if not self.flow.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def _parsed(self, count: int) -> None:
        self._parsed_bytes += count
        if self._parsed_bytes > HEAD_BYTES_MAX:
            self._too_much(problems.HEADERS_TOO_LARGE)

    def _too_much(self, code: Code) -> None:
        self._refusal = code
        raise TooMuch

    def _expect_more(self) -> None:
        self._deadline = self.loop.call_later(self.head_seconds_max, self._is_late)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _is_late(self) -> None:
        self._deadline = None
        if self._reads_head and self.scope is not None:
            self._refuse(problems.REQUEST_TIMEOUT)
        else:  # nothing was asked, or it has been answered
            self.transport.close()

    def _refuse(self, code: Code) -> None:
        """Answer the request that is being read, unless earlier answers are due, and close."""
        if self.transport.is_closing():
            return
        if self._may_answer():
            self.transport.write(_refusal(code))
        self.transport.close()
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _may_answer(self) -> bool:
        if self.cycle is None or self.cycle.response_complete:
            return True
        is_being_read = not self._reads_head and not self.pipeline
        return is_being_read and not self.cycle.response_started


def _refusal(code: Code) -> bytes:
    """The whole answer, as ``http_manners`` would have it."""
    request = new_request_id()
    problem = Problem(code).document() | {"instance": f"urn:usersync:request:{request}"}
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
