"""Send a zip archive that was written for one response: few at a time, none large, none for long.

Guarantees: all archives of a process together take at most ``AT_ONCE_MAX * BYTES_MAX`` of memory
(32 MiB), and as many connections to the database; none is on disk. A client that reads slowly is
cut off.

Not here: how often a user may ask (each service's own limit).
"""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service_kit.http import problems
from service_kit.http.problems import Problem
from service_kit.process.archive import Archive, ArchiveTooLarge, archive_in

AT_ONCE_MAX: Final = 2
"""Archives that a process writes or sends at once: each holds one of about ten connections to the
database while it is written, and most of a core."""

BUSY_RETRY_SECONDS: Final = "10"
"""Most archives are written and sent in less."""

BYTES_MAX: Final = 16 * 1024 * 1024
"""What one has at most before it is compressed: five times "War and Peace". Text shrinks to a
third; what does not shrink is no larger in the archive."""

SEND_SECONDS_MAX: Final = 120.0
"""How long a client may read: 16 MiB take 112 s at 1.2 Mbit/s."""

CHUNK_BYTES: Final = 64 * 1024

ZIP: Final = "application/zip"

AN_ARCHIVE: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {ZIP: {}}}}
"""The ``responses`` of a route that sends one."""


class Downloads:
    """The archives that a process writes and sends, at most ``AT_ONCE_MAX`` at once."""

    def __init__(self, send_seconds_max: float = SEND_SECONDS_MAX) -> None:
        self._free = AT_ONCE_MAX
        self._send_seconds_max = send_seconds_max

    async def archive_response(
        self, folder: str, name: str, write: Callable[[Archive], Awaitable[None]]
    ) -> StreamingResponse:
        """Let ``write`` fill an archive, and respond with it; it is in no cache.

        Parameters:
            folder: in the archive.
            name: of the file that it is saved as.
            write: called only if there is a place.

        Raises:
            Problem: no place is free (503), or there is more than ``BYTES_MAX`` (409).
        """
        with ExitStack() as held:
            held.enter_context(self._place())
            file = held.enter_context(io.BytesIO())
            try:
                with archive_in(file, folder, datetime.now(UTC), BYTES_MAX) as archive:
                    await write(archive)
            except ArchiveTooLarge:
                detail = "this is too large to download; the operator can export it"
                raise Problem(problems.EXPORT_TOO_LARGE, detail) from None
            return _Download(file, name, self._send_seconds_max, held.pop_all())

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._free == 0:
            raise Problem(problems.BUSY, headers={"Retry-After": BUSY_RETRY_SECONDS})
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


class _Download(StreamingResponse):
    """Sends an archive, and then gives up what is ``held`` for it, however that ends."""

    def __init__(self, file: io.BytesIO, name: str, seconds_max: float, held: ExitStack) -> None:
        super().__init__(
            _chunks(file),
            media_type=ZIP,
            headers={
                "Content-Length": str(file.getbuffer().nbytes),
                "Content-Disposition": f'attachment; filename="{name}"',
                "Cache-Control": "no-store",
            },
        )
        self._seconds_max = seconds_max
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response.

        Raises:
            TimeoutError: the client has not read it in time; the connection is to be closed.
        """
        with self._held:
            async with asyncio.timeout(self._seconds_max):
                await super().__call__(scope, receive, send)


async def _chunks(file: io.BytesIO) -> AsyncIterator[bytes]:
    file.seek(0)
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
