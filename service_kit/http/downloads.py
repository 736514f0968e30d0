"""Send a zip archive that was written for one response, and remove it afterwards."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final

from starlette.responses import StreamingResponse

from service_kit.process.archive import Archive, archive_in

IN_MEMORY_BYTES: Final = 1024 * 1024
"""A larger file is on disk while it is sent."""

CHUNK_BYTES: Final = 64 * 1024

ZIP: Final = "application/zip"

AN_ARCHIVE: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {ZIP: {}}}}
"""The ``responses`` of a route that sends one."""


async def archive_response(
    folder: str, name: str, write: Callable[[Archive], Awaitable[None]]
) -> StreamingResponse:
    """Let ``write`` fill an archive, and respond with it; it is in no cache.

    Parameters:
        folder: in the archive.
        name: of the file that it is saved as.
    """
    file = SpooledTemporaryFile[bytes](IN_MEMORY_BYTES)
    try:
        with archive_in(file, folder, datetime.now(UTC)) as archive:
            await write(archive)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return StreamingResponse(
        _chunks(file),
        media_type=ZIP,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
