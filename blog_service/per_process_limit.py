"""Limit how often one user may ask for what writes nothing, such as an export or a preview.

Nothing could be counted in the database. So each API process counts its own, in memory: with
several, a user has the limit at each, and a restart forgets what was counted.
"""

import time
from collections import deque
from collections.abc import Callable
from uuid import UUID

from service_kit.http.rate_limits import rate_limit_headers, too_many_requests
from service_kit.process.rates import Rate


class PerProcessLimit:
    """Counts the requests of each user within the last ``limit.seconds``.

    Parameters:
        name: of the limit, in responses.
        limit: how many requests one user has in how many seconds.
        clock: seconds that never run backwards.
    """

    def __init__(self, name: str, limit: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._limit = limit
        self._clock = clock
        # Oldest first; what is older than the window is dropped, and users without any.
        self._spent: deque[tuple[float, UUID]] = deque()
        self._own: dict[UUID, deque[float]] = {}

    def spend(self, user_id: UUID) -> None:
        """Count one request of the user.

        Raises:
            Problem: 429, with the seconds until they may ask again; this one does not count.
        """
        now, quota, window = self._clock(), self._limit.quota, self._limit.seconds
        self._forget(now - window)
        own = self._own.get(user_id)
        if own is not None and len(own) >= quota:
            left = own[0] + window - now
            raise too_many_requests(
                [self._name],
                rate_limit_headers(
                    self._name,
                    quota=quota,
                    window_seconds=window,
                    remaining=0,
                    reset_seconds=left,
                    retry_after_seconds=left,
                ),
            )
        self._spent.append((now, user_id))
        self._own.setdefault(user_id, deque()).append(now)

    def _forget(self, until: float) -> None:
        while self._spent and self._spent[0][0] <= until:
            _, user_id = self._spent.popleft()
            self._own[user_id].popleft()
            if not self._own[user_id]:
                del self._own[user_id]
