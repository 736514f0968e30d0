"""The users of some buckets as a stream of JSON lines (``contracts.sync.comparison``).

Guarantees: lines come as fast as the caller takes them, and memory stays the same however many
there are; a stream that cannot be finished has no last line, and its connection is broken off; when
the caller goes away, the work for him ends.
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
"""PostgreSQL's own blocks have 8 KiB; each one that is sent costs the same, whatever its size."""

R = TypeVar("R")


class StreamInterrupted(Exception):
    """The rest of a stream cannot be had."""


class UsersStream(Response):
    """The answer that streams the users of ``buckets``.

    Raises when it is sent:
        Problem: there is no snapshot to be had; nothing has been sent then.
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
        """Send it."""
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
        # After the snapshot: who has read the last line finds its place free.
        await lines.end()


class _Lines:
    """Sends lines in blocks, counts them, and keeps their digest."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._digest = hashlib.sha256()
        self._count = -1  # the first line is no user

    async def add(self, lines: bytes) -> None:
        """Send whole lines, now or later."""
        self._digest.update(lines)
        self._count += lines.count(b"\n")
        self._held.append(lines)
        self._held_bytes += len(lines)
        if self._held_bytes >= BLOCK_BYTES:
            await self._flush()

    async def end(self) -> None:
        """Send what is held, and the last line."""
        end = StreamEnd(count=self._count, sha256=self._digest.hexdigest())
        self._held.append(_line(end))
        await self._flush(more=False)

    async def _flush(self, *, more: bool = True) -> None:
        body = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _line(value: BaseModel) -> bytes:
    return value.model_dump_json().encode() + b"\n"


async def while_connected(receive: Receive, work: Coroutine[Any, Any, R]) -> R:
    """What ``work`` returns, which is cancelled when the caller goes away.

    Raises:
        ClientDisconnect: he did.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        await end_tasks(working, leaving)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
