"""Erase rows of content.

Apart from the use cases of posts, comments and profiles, only this code writes their tables.

Guarantees: a call erases at most ``limit`` rows. It skips rows that are locked and leaves them to
the next round, so it never waits and cannot deadlock. The caller owns the transaction and holds
locks on the rows of the users and posts it names, so that nothing is added to them meanwhile.

Not here: whose content is erased, and when (``sweep``).
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

_IDS: Final = "ANY (CAST(:ids AS uuid[]))"


# Unlocked rows. An array, so that the planner finds them by id despite its estimates.
_SOME: Final = """
    {verb} WHERE id = ANY (ARRAY(
        SELECT id FROM {table} WHERE {condition} LIMIT :limit FOR UPDATE SKIP LOCKED
    ))
"""


def _some(verb: str, table: str, condition: str) -> TextClause:
    return text(_SOME.format(verb=verb, table=table, condition=condition))


_COMMENTS_OF = _some("DELETE FROM comments", "comments", f"author_id = {_IDS}")
_COMMENTS_ON = _some("DELETE FROM comments", "comments", f"post_id = {_IDS}")
_EMPTY = _some(
    "UPDATE posts SET title = NULL, body = NULL, deleted_at = now(), sweep = true",
    "posts",
    f"author_id = {_IDS} AND deleted_at IS NULL",
)
# The comments of posts without the sweep mark are erased already.
_EMPTY_POSTS = _some(
    "DELETE FROM posts", "posts", f"author_id = {_IDS} AND deleted_at IS NOT NULL AND NOT sweep"
)

# Subqueries instead of joins: each finds its first row through an index, no matter what the planner
# estimates for tables that were just filled or emptied.
_SETTLE = text(
    f"""
    WITH bare AS MATERIALIZED (
        SELECT id, NOT EXISTS (
            SELECT FROM users WHERE users.id = posts.author_id AND users.deleted_at IS NOT NULL
        ) AS stays
        FROM posts
        WHERE id = {_IDS}
            AND (SELECT true FROM comments WHERE post_id = posts.id LIMIT 1) IS NULL
        LIMIT :limit
    ), gone AS (
        DELETE FROM posts USING bare WHERE posts.id = bare.id AND NOT stays RETURNING posts.id
    ), settled AS (
        UPDATE posts SET sweep = false FROM bare WHERE posts.id = bare.id AND stays
        RETURNING posts.id
    )
    SELECT id, true AS is_gone FROM gone UNION ALL SELECT id, false FROM settled
    """  # noqa: S608 - made of constants
)

_BARE = text(
    """
    SELECT id FROM unnest(CAST(:ids AS uuid[])) AS one (id)
    WHERE (SELECT true FROM comments WHERE author_id = one.id LIMIT 1) IS NULL
        AND (SELECT true FROM posts WHERE author_id = one.id AND deleted_at IS NULL LIMIT 1)
            IS NULL
        AND (SELECT true FROM posts WHERE author_id = one.id AND deleted_at IS NOT NULL LIMIT 1)
            IS NULL
    """
)

# The caller has locked the users, and only users change their profiles, under the same lock.
_PROFILES = text(f"DELETE FROM profiles WHERE user_id = {_IDS}")  # noqa: S608 - a constant

_POSTS_OF = text(f"DELETE FROM posts WHERE author_id = {_IDS} RETURNING id")  # noqa: S608 - a constant
_COMMENTS = text(
    f"DELETE FROM comments WHERE author_id = {_IDS} OR post_id = ANY (CAST(:posts AS uuid[]))"  # noqa: S608 - a constant
)


async def erase_profiles(connection: AsyncConnection, user_ids: Sequence[UUID]) -> int:
    """Erase the profiles of these users and return how many there were."""
    return (await connection.execute(_PROFILES, {"ids": user_ids})).rowcount


async def erase_comments_of(
    connection: AsyncConnection, user_ids: Sequence[UUID], *, limit: int
) -> int:
    """Erase comments written by these users and return how many."""
    return await _rows(connection, _COMMENTS_OF, user_ids, limit)


async def erase_comments_on(
    connection: AsyncConnection, post_ids: Sequence[UUID], *, limit: int
) -> int:
    """Erase comments on these posts, by any author, and return how many."""
    return await _rows(connection, _COMMENTS_ON, post_ids, limit)


async def empty_posts_of(
    connection: AsyncConnection, user_ids: Sequence[UUID], *, limit: int
) -> int:
    """Delete posts of these users, which marks them for sweeping, and return how many."""
    return await _rows(connection, _EMPTY, user_ids, limit)


async def erase_empty_posts_of(
    connection: AsyncConnection, user_ids: Sequence[UUID], *, limit: int
) -> int:
    """Erase the empty rows of deleted posts of these users and return how many."""
    return await _rows(connection, _EMPTY_POSTS, user_ids, limit)


async def settle_posts(
    connection: AsyncConnection, post_ids: Sequence[UUID], *, limit: int
) -> Sequence[Row[Any]]:
    """Finish those of these deleted posts that have no comments left.

    The empty row stays as long as its author exists. Without it a service would create the post
    again, and a user could evade the limit by deleting posts (``limits``).

    Returns:
        The ``id`` of each finished post, and whether its row ``is_gone``.
    """
    return (await connection.execute(_SETTLE, {"ids": post_ids, "limit": limit})).all()


async def without_content(connection: AsyncConnection, user_ids: Sequence[UUID]) -> list[UUID]:
    """Return those of these users who have neither posts nor comments."""
    return list((await connection.execute(_BARE, {"ids": user_ids})).scalars())


async def erase_all_of(connection: AsyncConnection, user_ids: Sequence[UUID]) -> None:
    """Erase all content of users whose rows in ``users`` are gone, without a limit.

    Posts go before comments: a transaction that writes a comment locks the post, and this waits
    for it. Writers lock in the same order, so deadlocks are rare.
    """
    posts = list((await connection.execute(_POSTS_OF, {"ids": user_ids})).scalars())
    await connection.execute(_COMMENTS, {"ids": user_ids, "posts": posts})
    await connection.execute(_PROFILES, {"ids": user_ids})


async def _rows(
    connection: AsyncConnection, statement: TextClause, ids: Sequence[UUID], limit: int
) -> int:
    return (await connection.execute(statement, {"ids": ids, "limit": limit})).rowcount
