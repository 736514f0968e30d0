"""How long to wait before trying again what failed."""

from typing import Final

SHORTEST_SECONDS: Final = 0.1
"""A server that restarts is back in seconds; the first tries should find it at once."""


def pause_seconds(failures: int, *, longest: float, shortest: float = SHORTEST_SECONDS) -> float:
    """The pause after the ``failures``-th failure in a row: doubling, up to ``longest`` seconds."""
    return min(longest, shortest * 2.0 ** min(failures - 1, 10))
