"""How much one user may write.

Guarantees: nothing is counted but his own rows, by an index, and of those no more than the limit; a
crowd of his requests gets no more than the limit, since each holds his row alone
(``users.row_lock``) when it counts.
"""

from typing import Final, Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_kit.http.rate_limits import rate_limit_headers, too_many_requests
from service_kit.process.clock import AHEAD_SQL
from service_kit.process.rates import Rate

Written = Literal["posts", "comments"]
"""What is counted: a table, and the limit's name as clients see it."""

_OWN_ROWS: Final = {
    "posts": "FROM posts WHERE author_id = :author_id AND service_id IS NULL",
    "comments": "FROM comments WHERE author_id = :author_id",
}
"""His own rows. Of posts also those that he deleted, which leave their ids; and not those that a
service keeps for him."""

# Until the last row of the quota is old enough for another one. A row of the future does not count:
# the clock was set back since, and its author would wait for as long as it was ahead.
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


async def demand_room(
    connection: AsyncConnection, written: Written, author_id: UUID, limit: Rate
) -> None:
    """Refuse to let a user write one more than ``limit`` allows.

    Raises:
        Problem: 429, with the time after which he may.
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
