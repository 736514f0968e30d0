"""Find whose content is due for erasure: unswept tombstones and deleted posts.

Orphans become due after ``ORPHAN_DAYS``.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from blog_service.erasure.model import ORPHAN_DAYS

_USER: Final = f"""
    (sweep = 'deleted' OR sweep = 'orphan' AND deleted_at < now() - interval '{ORPHAN_DAYS} days')
"""

# Writers lock the author's row FOR SHARE, commenters the post's, and the consumer writes users.
# SKIP LOCKED waits for none of them.
_USERS = text(
    f"""
    SELECT id, sweep = 'orphan' AS is_orphan FROM users WHERE {_USER}
    ORDER BY deleted_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
    """  # noqa: S608 - a constant
)
_POSTS = text(
    "SELECT id FROM posts WHERE sweep ORDER BY deleted_at LIMIT :limit FOR UPDATE SKIP LOCKED"
)

_SWEPT = text(
    "UPDATE users SET sweep = NULL WHERE id = ANY(CAST(:ids AS uuid[])) AND deleted_at IS NOT NULL"
)

_COUNT = text(
    f"SELECT (SELECT count(*) FROM users WHERE {_USER}) + (SELECT count(*) FROM posts WHERE sweep)"  # noqa: S608 - a constant
)


async def due_users(connection: AsyncConnection, limit: int) -> Sequence[Row[Any]]:
    """Lock and return up to ``limit`` tombstones that are due, oldest first.

    Returns:
        The ``id`` of each user, and whether it ``is_orphan``.
    """
    return (await connection.execute(_USERS, {"limit": limit})).all()


async def due_posts(connection: AsyncConnection, limit: int) -> list[UUID]:
    """Lock and return the ids of up to ``limit`` deleted posts that are due, oldest first."""
    return list((await connection.execute(_POSTS, {"limit": limit})).scalars())


async def count_due(connection: AsyncConnection) -> int:
    """Count the tombstones and posts whose content is due for erasure."""
    return await connection.scalar(_COUNT) or 0


async def mark_swept(connection: AsyncConnection, user_ids: Sequence[UUID]) -> None:
    """Note that nothing of these deleted users is left to erase.

    The caller has locked their rows since before it looked, so that this is true: code that writes
    content locks its author's row ``FOR SHARE``, reads it, and adds nothing to a tombstone.
    """
    await connection.execute(_SWEPT, {"ids": list(user_ids)})
