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
"""Short enough for listings, long enough to be unique on one machine."""

VHOST = f"usersync-{CHECKOUT}"
"""The virtual host of the system that `make up` starts; tests create others."""


_SOCKET = ".s.PGSQL.5432"  # PostgreSQL's name; it includes the port even without TCP
_PATH_BYTES_MAX = 103  # macOS's limit for a socket's path; Linux allows 107


def program(name: str) -> Path:
    """Return the path of a program in the current virtual environment."""
    return Path(sys.executable).parent / name


def socket_folder(data: Path) -> Path:
    """Return the data folder, or a short one under the temporary directory if it is too long."""
    if len(str(data / _SOCKET).encode()) <= _PATH_BYTES_MAX:
        return data
    short = hashlib.sha256(str(data).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"usersync-{short}"
