"""Limit how much one user may write.

Guarantees: the count reads only the user's own rows, through an index, and at most as many as the
limit. Concurrent requests of one user cannot exceed the limit, because each locks the user's row
exclusively (``users.row_lock``) before it counts.
"""

from typing import Final, Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_kit.http.rate_limits import rate_limit_headers, too_many_requests
from service_kit.process.clock import AHEAD_SQL
from service_kit.process.rates import Rate

Written = Literal["posts", "comments"]
"""The table that is counted; also the name of the limit in responses."""

_OWN_ROWS: Final = {
    "posts": "FROM posts WHERE author_id = :author_id AND service_id IS NULL",
    "comments": "FROM comments WHERE author_id = :author_id",
}
"""The user's own rows. Deleted posts count, because their ids stay; posts that a service wrote for
the user do not."""

# The time until the oldest row within the quota leaves the window. A row with a time in the future
# does not count: the clock has been set back, and the author would wait for as long as it was
# ahead.
SECONDS_LEFT: Final = {
    written: text(
        f"""
        SELECT least(extract(epoch FROM created_at - now()), 0) + CAST(:seconds AS integer) {rows}
            AND created_at <= now() + {AHEAD_SQL}
        ORDER BY position DESC OFFSET CAST(:quota AS integer) - 1 LIMIT 1
        """  # noqa: S608 - made of constant names
    )
    for written, rows in _OWN_ROWS.items()
}


async def enforce_limit(
    connection: AsyncConnection, written: Written, author_id: UUID, limit: Rate
) -> None:
    """Refuse to write one row more than ``limit`` allows.

    Raises:
        Problem: 429, with the seconds until the user may write again.
    """
    values = {"author_id": author_id, "quota": limit.quota, "seconds": limit.seconds}
    left = await connection.scalar(SECONDS_LEFT[written], values)
    if left is not None and left > 0:
        raise too_many_requests(
            [written],
            rate_limit_headers(
                written,
                quota=limit.quota,
                window_seconds=limit.seconds,
                remaining=0,
                reset_seconds=float(left),
                retry_after_seconds=float(left),
            ),
        )
