"""Stream the users of some buckets as JSON lines (``contracts.sync.comparison``).

Guarantees: lines are sent as fast as the client reads them, and memory use does not grow with their
number. A stream that cannot be finished has no last line, and its connection is closed. When the
client disconnects, the work for its request ends.
"""

import asyncio
import hashlib
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

import structlog
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from auth_service.reconcile.snapshot import Snapshots
from contracts.sync.comparison import LINES, StreamBegin, StreamEnd
from service_kit.database.away import DATABASE_AWAY
from service_kit.process.tasks import end_tasks

log = structlog.get_logger()

BLOCK_BYTES: Final = 64 * 1024
"""PostgreSQL's own blocks have 8 KiB; each message costs the same, large or small."""

R = TypeVar("R")


class StreamInterrupted(Exception):
    """The database failed in the middle of a stream."""


class UsersStream(Response):
    """The response that streams the users of ``buckets``.

    Sending it raises:
        Problem: no snapshot is available; nothing has been sent.
        StreamInterrupted: the database failed in the middle.
    """

    media_type = LINES

    def __init__(self, snapshots: Snapshots, buckets: Sequence[range]) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers()
        self._snapshots = snapshots
        self._buckets = buckets

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        try:
            await while_connected(receive, self._send(send))
        except ClientDisconnect:
            log.info("reconcile.client_disconnected")

    async def _send(self, send: Send) -> None:
        lines = _Lines(send)
        has_begun = False
        try:
            async with self._snapshots.take() as snapshot:
                has_begun = True
                start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                await send(start)
                begin = StreamBegin(source=snapshot.source, taken_at=snapshot.taken_at)
                await lines.add(_line(begin))
                await snapshot.copy_lines(self._buckets, lines.add)
        except DATABASE_AWAY as error:
            if not has_begun:
                raise
            log.warning("reconcile.interrupted", error=type(error).__name__)
            raise StreamInterrupted from error
        # After the snapshot: a client that has read the last line finds its place free.
        await lines.end()


class _Lines:
    """Sends lines in blocks, counts them, and updates their digest."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._buffer: list[bytes] = []
        self._buffered_bytes = 0
        self._digest = hashlib.sha256()
        self._count = -1  # the first line is not a user

    async def add(self, lines: bytes) -> None:
        """Buffer whole lines, and send them once the block is large enough."""
        self._digest.update(lines)
        self._count += lines.count(b"\n")
        self._buffer.append(lines)
        self._buffered_bytes += len(lines)
        if self._buffered_bytes >= BLOCK_BYTES:
            await self._flush()

    async def end(self) -> None:
        """Send the buffered lines and the last line."""
        end = StreamEnd(count=self._count, sha256=self._digest.hexdigest())
        self._buffer.append(_line(end))
        await self._flush(more=False)

    async def _flush(self, *, more: bool = True) -> None:
        body = b"".join(self._buffer)
        self._buffer.clear()
        self._buffered_bytes = 0
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _line(value: BaseModel) -> bytes:
    return value.model_dump_json().encode() + b"\n"


async def while_connected(receive: Receive, work: Coroutine[Any, Any, R]) -> R:
    """Return the result of ``work``; cancel it when the client disconnects.

    Raises:
        ClientDisconnect: the client disconnected first.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        await end_tasks(working, leaving)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
