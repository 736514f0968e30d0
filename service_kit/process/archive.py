"""Write what a service knows of one person as a zip archive: JSON files, and a README for them.

Each service writes a folder of its own, so that several parts can share one archive. Rows are
written as they come, so that memory stays small however much there is.
"""

import json
import shutil
from collections.abc import AsyncIterator, Iterator
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


class Archive:
    """The folder of one service in a zip archive."""

    def __init__(self, file: ZipFile, folder: str, at: datetime) -> None:
        """``at``: the time that the files in it get."""
        self._file = file
        self._folder = folder
        self._at = at.timetuple()[:6]

    def add_readme(self, text: str) -> None:
        """Add the text that explains the files."""
        with self._open(README) as entry:
            entry.write(text.encode())

    def add(self, name: str, document: dict[str, Any] | None) -> None:
        """Add ``name.json`` with one object, or null; times are RFC 3339."""
        with self._open(f"{name}.json") as entry:
            entry.write(json.dumps(document, default=plain, ensure_ascii=False, indent=2).encode())

    async def add_rows(self, name: str, rows: AsyncIterator[dict[str, Any]]) -> None:
        """Add ``name.json`` with an array, one row a line."""
        with self._open(f"{name}.json") as entry:
            separator = "[\n"
            async for row in rows:
                entry.write(separator.encode())
                entry.write(json.dumps(row, default=plain, ensure_ascii=False).encode())
                separator = ",\n"
            entry.write(b"\n]\n" if separator == ",\n" else b"[]\n")

    def _open(self, name: str) -> IO[bytes]:
        info = ZipInfo(f"{self._folder}/{name}", self._at)
        info.compress_type = ZIP_DEFLATED
        info.external_attr = _OWN_FILE << 16
        return self._file.open(info, "w")


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
def archive_in(target: IO[bytes], folder: str, at: datetime) -> Iterator[Archive]:
    """Write an archive with one folder to ``target``, an empty file."""
    with ZipFile(target, "w") as file:
        yield Archive(file, folder, at)
