"""Ports on the loopback interface that nobody listens on.

Guarantees: a port that is handed out was free a moment ago. It lies below the range from which
systems take the local ends of outgoing connections, so a server that is down for a while finds its
port free again.
"""

import random
import socket

from local.waiting import wait_until

LOOPBACK = "127.0.0.1"

_PORTS = range(
    20_000, 30_000
)  # Linux hands out 32768 and up for outgoing connections, macOS 49152 and up
_ATTEMPTS = 100


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback interface now."""
    with socket.socket() as candidate:
        # As servers do: connections of a server that has just gone must not count as taken.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def is_listening(port: int, host: str = LOOPBACK, timeout_seconds: float = 1.0) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds):
            return True
    except OSError:
        return False


def free_port(preferred: int | None = None, patience_seconds: float = 0.0) -> int:
    """The preferred port if it is free, else another free one.

    `patience_seconds`: how long to wait for the preferred one, whose last holder may be going.
    """
    if preferred is not None and wait_until(lambda: is_free(preferred), patience_seconds):
        return preferred
    candidates = random.sample(_PORTS, _ATTEMPTS)
    return next(port for port in candidates if is_free(port))
