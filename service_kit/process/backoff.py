"""How long to wait before a retry: exponential backoff, with jitter where a crowd retries."""

import random
from typing import Final

SHORTEST_SECONDS: Final = 0.1
"""A server that restarts is back in seconds; the first retries should find it at once."""


def backoff_seconds(failures: int, *, longest: float, shortest: float = SHORTEST_SECONDS) -> float:
    """Return the pause after this many failures in a row, in seconds, without jitter.

    For a schedule that one process at a time keeps, such as the mail queue's.

    Parameters:
        failures: at least one; each doubles the pause.
        longest: no pause is longer, in seconds.
        shortest: the first pause, in seconds.
    """
    return min(longest, shortest * 2.0 ** min(failures - 1, 10))


def pause_seconds(failures: int, *, longest: float, shortest: float = SHORTEST_SECONDS) -> float:
    """Return a random pause between half of ``backoff_seconds`` and all of it (equal jitter).

    For processes that lose the same server at the same time: their retries spread evenly instead of
    arriving together, and still each pause is a pause.
    """
    pause = backoff_seconds(failures, longest=longest, shortest=shortest)
    return random.uniform(pause / 2, pause)  # noqa: S311 - no secret
