"""Write what a service knows of one person as a zip archive: JSON files, and a README for them.

Each service writes a folder of its own, so that several parts can share one archive. Rows are
written as they come, so that memory stays small however much there is, and in a thread, so that the
event loop serves others meanwhile.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, Final, Literal
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo, is_zipfile

from service_kit.process.errors import OperatorError
from service_kit.process.terminal import plain

README: Final = "README.txt"

_OWN_FILE: Final = 0o600
"""Nobody but its owner reads the archive, nor what is unpacked from it."""

ROWS_AT_ONCE: Final = 20
"""Rows that a thread writes at a time: at most 2.4 MB of the longest posts, which takes 0.1 s."""


class ArchiveTooLarge(Exception):
    """There is more to write than the archive may have."""


class Archive:
    """The folder of one service in a zip archive."""

    def __init__(
        self, file: ZipFile, folder: str, at: datetime, bytes_max: int | None = None
    ) -> None:
        """Begin the folder.

        Parameters:
            file: to write to.
            folder: its name in the archive.
            at: the time that the files in it get.
            bytes_max: of all rows, before they are compressed; None for an archive without limit.
        """
        self._file = file
        self._folder = folder
        self._at = at.timetuple()[:6]
        self._bytes_max = bytes_max
        self._bytes = 0

    def add_readme(self, text: str) -> None:
        """Add the text that explains the files."""
        with self._open(README) as entry:
            entry.write(text.encode())

    def add(self, name: str, document: dict[str, Any] | None) -> None:
        """Add ``name.json`` with one object, or null; times are RFC 3339."""
        with self._open(f"{name}.json") as entry:
            entry.write(json.dumps(document, default=plain, ensure_ascii=False, indent=2).encode())

    async def add_rows(self, name: str, rows: AsyncIterator[dict[str, Any]]) -> None:
        """Add ``name.json`` with an array, one row a line.

        Raises:
            ArchiveTooLarge: the rows of the archive have more than ``bytes_max``.
        """
        with self._open(f"{name}.json") as entry:
            separator = b"[\n"
            async for some in _in_groups(rows):
                await asyncio.to_thread(self._write_rows, entry, separator, some)
                separator = b",\n"
            entry.write(b"\n]\n" if separator == b",\n" else b"[]\n")

    def _write_rows(
        self, entry: IO[bytes], separator: bytes, rows: Sequence[dict[str, Any]]
    ) -> None:
        lines = [json.dumps(row, default=plain, ensure_ascii=False).encode() for row in rows]
        self._bytes += sum(map(len, lines))
        if self._bytes_max is not None and self._bytes > self._bytes_max:
            raise ArchiveTooLarge
        entry.write(separator + b",\n".join(lines))

    def _open(self, name: str) -> IO[bytes]:
        info = ZipInfo(f"{self._folder}/{name}", self._at)
        info.compress_type = ZIP_DEFLATED
        info.external_attr = _OWN_FILE << 16
        return self._file.open(info, "w")


async def _in_groups(rows: AsyncIterator[dict[str, Any]]) -> AsyncIterator[list[dict[str, Any]]]:
    group = []
    async for row in rows:
        group.append(row)
        if len(group) == ROWS_AT_ONCE:
            yield group
            group = []
    if group:
        yield group


@contextmanager
def archive_at(path: Path, folder: str, at: datetime) -> Iterator[Archive]:
    """Add a folder to the archive at ``path``, which is created if there is none.

    Guarantees: the file changes when the block has ended, or not at all.

    Raises:
        OperatorError: the file is not an archive, or has the folder already.
    """
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
        try:
            mode: Literal["a", "w"] = "w"
            if path.exists():
                mode = "a"
                with path.open("rb") as present:
                    shutil.copyfileobj(present, new)
                if not is_zipfile(new):
                    raise OperatorError(f"{path} is not a zip archive; name another file")
            with ZipFile(new, mode) as file:
                if any(name.startswith(f"{folder}/") for name in file.namelist()):
                    raise OperatorError(f"{path} has the part {folder} already; name another file")
                yield Archive(file, folder, at)
            Path(new.name).replace(path)
        finally:
            Path(new.name).unlink(missing_ok=True)


@contextmanager
def archive_in(target: IO[bytes], folder: str, at: datetime, bytes_max: int) -> Iterator[Archive]:
    """Write an archive with one folder to ``target``, an empty file."""
    with ZipFile(target, "w") as file:
        yield Archive(file, folder, at, bytes_max)
