"""Find free ports on the loopback interface.

Guarantees: a returned port was free a moment ago. It is below the range for outgoing connections,
so a server that is down for a while can get its port back.
"""

import random
import socket

from local.waiting import wait_until

LOOPBACK = "127.0.0.1"

_PORTS = range(
    20_000, 30_000
)  # for outgoing connections Linux uses 32768 and up, macOS 49152 and up
_ATTEMPTS = 100


def is_free(port: int) -> bool:
    """Return whether a server could listen on this loopback port now."""
    with socket.socket() as candidate:
        # Like a server: connections of a server that has just stopped must not count.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def is_listening(port: int, host: str = LOOPBACK, timeout_seconds: float = 1.0) -> bool:
    """Return whether a server accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds):
            return True
    except OSError:
        return False


def free_port(preferred: int | None = None, patience_seconds: float = 0.0) -> int:
    """Return the preferred port if it is free, else another free one.

    `patience_seconds`: how long to wait for the preferred one, whose last user may be stopping.
    """
    if preferred is not None and wait_until(lambda: is_free(preferred), patience_seconds):
        return preferred
    candidates = random.sample(_PORTS, _ATTEMPTS)
    return next(port for port in candidates if is_free(port))
