"""Limit how often one user may export their data.

An export writes nothing that could be counted in the database. So each API process counts its own,
in memory: with several, a user has the limit at each, and a restart forgets what was counted.
"""

import time
from collections import deque
from collections.abc import Callable
from uuid import UUID

from service_kit.http.rate_limits import rate_limit_headers, too_many_requests
from service_kit.process.rates import Rate


class ExportLimit:
    """Counts the exports of each user within the last ``limit.seconds``."""

    def __init__(self, limit: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        # Oldest first. Few: a process writes two at once, each takes a good part of a second.
        self._exports: deque[tuple[float, UUID]] = deque()

    def spend(self, user_id: UUID) -> None:
        """Count one export of the user.

        Raises:
            Problem: 429, with the seconds until they may export again; this one does not count.
        """
        now, quota, window = self._clock(), self._limit.quota, self._limit.seconds
        while self._exports and self._exports[0][0] <= now - window:
            self._exports.popleft()
        own = [at for at, who in self._exports if who == user_id]
        if len(own) >= quota:
            left = own[-quota] + window - now
            raise too_many_requests(
                ["exports"],
                rate_limit_headers(
                    "exports",
                    quota=quota,
                    window_seconds=window,
                    remaining=0,
                    reset_seconds=left,
                    retry_after_seconds=left,
                ),
            )
        self._exports.append((now, user_id))
