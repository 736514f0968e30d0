"""Where the embedded PostgreSQL puts its socket.

Guarantees: the same data folder always gets the same socket folder, so an address outlives a crash
and a restart.
"""

import hashlib
import tempfile
from pathlib import Path

_SOCKET = ".s.PGSQL.5432"  # PostgreSQL's name for it; the port is part of the name even without TCP
_PATH_BYTES_MAX = 103  # what macOS allows for a socket's path; Linux allows 107


def socket_folder(data: Path) -> Path:
    """The data folder itself, or a short one under the temporary directory if that is too long."""
    if len(str(data / _SOCKET).encode()) <= _PATH_BYTES_MAX:
        return data
    short = hashlib.sha256(str(data).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"usersync-{short}"
