"""Where this checkout keeps its own things, and the name it goes by on shared servers.

Guarantees: everything that belongs to a running system lies under `.local/`; the name differs
between two checkouts on one machine and stays the same for one checkout.
"""

import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"
LOGS = LOCAL / "logs"
MAIL = LOCAL / "mail"

CHECKOUT = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
"""Short enough to read in a listing, long enough that two paths on one machine do not meet."""

VHOST = f"usersync-{CHECKOUT}"
"""The virtual host of the system that `make up` starts; tests make others beside it."""


def program(name: str) -> Path:
    """A program of the virtual environment that runs us."""
    return Path(sys.executable).parent / name
