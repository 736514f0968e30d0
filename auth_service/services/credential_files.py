"""Store a service's id and API key in two files, which its settings name (``NAME_FILE``).

Guarantees: only their owner can read them. Each is written completely or not at all. Several
processes replace them one after the other.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from auth_service.services.model import Credentials
from service_kit.process.errors import OperatorError

ID_FILE: Final = "service-id"
KEY_FILE: Final = "api-key"


@contextmanager
def credential_files(folder: Path) -> Iterator["CredentialFiles"]:
    """Lock the files in ``folder``, which is created if it is missing.

    Raises:
        OperatorError: the folder cannot be used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _unusable(folder, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # ends with the descriptor
        yield CredentialFiles(folder)
    finally:
        os.close(descriptor)


class CredentialFiles:
    """The two files, locked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> Credentials | None:
        """Read the files; None if one is missing or is not text."""
        try:
            values = [(self._folder / name).read_text().strip() for name in (ID_FILE, KEY_FILE)]
        except (FileNotFoundError, UnicodeError):
            return None
        except OSError as error:
            raise _unusable(self._folder, error) from None
        return Credentials(*values)

    def save(self, credentials: Credentials) -> None:
        """Replace the files."""
        try:
            self._write(ID_FILE, credentials.id)
            self._write(KEY_FILE, credentials.api_key)
        except OSError as error:
            raise _unusable(self._folder, error) from None

    def _write(self, name: str, text: str) -> None:
        part = self._folder / f"{name}.part"
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)
        part.rename(self._folder / name)


def _unusable(folder: Path, error: OSError) -> OperatorError:
    return OperatorError(f"{folder} cannot be used: {error.strerror}; use another --folder")
