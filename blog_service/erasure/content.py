"""Erase rows of content: beside the verbs of each kind, the only code that writes their tables.

Guarantees: at most so many rows a call; a row that somebody holds is left to the next time, so that
nothing is waited for and nothing can deadlock. The caller owns the transaction, and holds the rows
of the users and posts that he names, to which therefore nothing is added meanwhile.

Not here: whose content goes, and when (``sweep``).
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

_IDS: Final = "ANY (CAST(:ids AS uuid[]))"


# Rows that nobody holds. An array, so that they are found by id whatever the planner believes.
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
# Of those that are not to be swept, the comments are gone already.
_EMPTY_POSTS = _some(
    "DELETE FROM posts", "posts", f"author_id = {_IDS} AND deleted_at IS NOT NULL AND NOT sweep"
)

# Whether there are any is asked by subqueries that are no joins: each finds its first row by index,
# whatever the planner believes of tables that were just filled or emptied.
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

# Of users who are held: they alone change it, and hold their own rows meanwhile.
_PROFILES = text(f"DELETE FROM profiles WHERE user_id = {_IDS}")  # noqa: S608 - a constant

_POSTS_OF = text(f"DELETE FROM posts WHERE author_id = {_IDS} RETURNING id")  # noqa: S608 - a constant
_COMMENTS = text(
    f"DELETE FROM comments WHERE author_id = {_IDS} OR post_id = ANY (CAST(:posts AS uuid[]))"  # noqa: S608 - a constant
)


async def erase_profiles(connection: AsyncConnection, user_ids: Sequence[UUID]) -> int:
    """Erase what these users told of themselves; how many did."""
    return (await connection.execute(_PROFILES, {"ids": user_ids})).rowcount


async def erase_comments_of(
    connection: AsyncConnection, user_ids: Sequence[UUID], *, limit: int
) -> int:
    """Erase comments that these users wrote; how many."""
    return await _rows(connection, _COMMENTS_OF, user_ids, limit)


async def erase_comments_on(
    connection: AsyncConnection, post_ids: Sequence[UUID], *, limit: int
) -> int:
    """Erase comments on these posts, whoever wrote them; how many."""
    return await _rows(connection, _COMMENTS_ON, post_ids, limit)


async def empty_posts_of(
    connection: AsyncConnection, user_ids: Sequence[UUID], *, limit: int
) -> int:
    """Delete posts of these users as their author would, so that they are swept; how many."""
    return await _rows(connection, _EMPTY, user_ids, limit)


async def erase_empty_posts_of(
    connection: AsyncConnection, user_ids: Sequence[UUID], *, limit: int
) -> int:
    """Erase what was left of deleted posts of these users; how many."""
    return await _rows(connection, _EMPTY_POSTS, user_ids, limit)


async def settle_posts(
    connection: AsyncConnection, post_ids: Sequence[UUID], *, limit: int
) -> Sequence[Row[Any]]:
    """Be done with those of these deleted posts on which there are no comments any more.

    The empty row stays as long as its author lives: a service would bring the post back otherwise,
    and whoever writes and deletes would never meet his limit (``limits``). Returns their ids, and
    whether each row ``is_gone``.
    """
    return (await connection.execute(_SETTLE, {"ids": post_ids, "limit": limit})).all()


async def without_content(connection: AsyncConnection, user_ids: Sequence[UUID]) -> list[UUID]:
    """Those of these users of whom there is neither post nor comment."""
    return list((await connection.execute(_BARE, {"ids": user_ids})).scalars())


async def erase_all_of(connection: AsyncConnection, user_ids: Sequence[UUID]) -> None:
    """Erase, however much it is, all of users whose rows of ``users`` are gone.

    Posts before comments: whoever comments holds the post, and this waits for him. In the order in
    which writers lock as well, so that the two seldom deadlock.
    """
    posts = list((await connection.execute(_POSTS_OF, {"ids": user_ids})).scalars())
    await connection.execute(_COMMENTS, {"ids": user_ids, "posts": posts})
    await connection.execute(_PROFILES, {"ids": user_ids})


async def _rows(
    connection: AsyncConnection, statement: TextClause, ids: Sequence[UUID], limit: int
) -> int:
    return (await connection.execute(statement, {"ids": ids, "limit": limit})).rowcount
