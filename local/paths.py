"""This checkout's folders, and its name on shared servers.

Guarantees: everything that belongs to a running system is under `.local/`; the name differs
between two checkouts on one machine, and never changes for one checkout; the same data folder
always gets the same socket folder, so an address survives a crash and a restart.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"
LOGS = LOCAL / "logs"
MAIL = LOCAL / "mail"

CHECKOUT = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
"""Short enough to read in a listing, long enough that two paths on one machine do not meet."""

VHOST = f"usersync-{CHECKOUT}"
"""The virtual host of the system that `make up` starts; tests make others beside it."""


_SOCKET = ".s.PGSQL.5432"  # PostgreSQL's name for it; the port is part of the name even without TCP
_PATH_BYTES_MAX = 103  # what macOS allows for a socket's path; Linux allows 107


def program(name: str) -> Path:
    """A program of the virtual environment that runs us."""
    return Path(sys.executable).parent / name


def socket_folder(data: Path) -> Path:
    """The data folder itself, or a short one under the temporary directory if that is too long."""
    if len(str(data / _SOCKET).encode()) <= _PATH_BYTES_MAX:
        return data
    short = hashlib.sha256(str(data).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"usersync-{short}"
