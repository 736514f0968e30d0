"""Write content as the blog's use cases do, and count what is left of it."""

from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from blog_service.erasure.sweep import sweep
from blog_service.settings import DeletedAuthors
from blog_service.users.row_lock import lock_author
from tests.support.builders import a_state, a_tombstone
from tests.support.inbox import apply_events, execute, fetch


async def a_user(engine: AsyncEngine, email: str | None = None) -> UUID:
    """Create a user with a profile."""
    state = a_state(email=email) if email else a_state()
    await apply_events(engine, state)
    await execute(
        engine,
        "INSERT INTO profiles (user_id, display_name, bio)"
        f" VALUES ('{state.id}', 'Ada Lovelace', 'writes programs')",
    )
    return state.id


async def deleted(engine: AsyncEngine, *user_ids: UUID) -> None:
    """Apply the users' tombstones."""
    await apply_events(engine, *(a_tombstone(user_id) for user_id in user_ids))


async def a_post(engine: AsyncEngine, author: UUID, service: str | None = None) -> UUID:
    """Create a post, by its author or a service."""
    post_id = uuid4()
    kept_by = f"'{service}'" if service else "NULL"
    await execute(
        engine,
        "INSERT INTO posts (id, author_id, title, body, service_id)"
        f" VALUES ('{post_id}', '{author}', 'On engines', 'They might compose music', {kept_by})",
    )
    return post_id


async def a_deleted_post(engine: AsyncEngine, author: UUID, service: str | None = None) -> UUID:
    """Create a post that its author or a moderator has deleted."""
    post_id = await a_post(engine, author, service)
    await execute(
        engine,
        "UPDATE posts SET title = NULL, body = NULL, deleted_at = now(), sweep = true"
        f" WHERE id = '{post_id}'",
    )
    return post_id


async def comments(
    engine: AsyncEngine, author: UUID, post: UUID | None = None, count: int = 1
) -> None:
    """Create comments on a post; without one, each on a different post that does not exist."""
    on = f"'{post}'" if post else "gen_random_uuid()"
    for first in range(1, count + 1, AT_ONCE):
        last = min(first + AT_ONCE - 1, count)
        await execute(
            engine,
            "INSERT INTO comments (post_id, author_id, body)"
            f" SELECT {on}, '{author}', 'I quite agree ' || n"
            f" FROM generate_series({first}, {last}) AS n",
        )


AT_ONCE = 10_000
"""Rows per statement, so that it ends in time even on an overloaded machine."""


@dataclass(frozen=True)
class Left:
    """The content left in a database, and the number of owners due for erasure."""

    profiles: int
    posts: int
    comments: int
    noted: int


async def left(engine: AsyncEngine, user_id: UUID | None = None) -> Left:
    """Return what is left of a user, or of all; empty posts do not count."""
    of = f"= '{user_id}'" if user_id else "IS NOT NULL"
    [row] = await fetch(
        engine,
        f"""
        SELECT (SELECT count(*) FROM profiles WHERE user_id {of}) AS profiles,
               (SELECT count(*) FROM posts WHERE author_id {of} AND title IS NOT NULL) AS posts,
               (SELECT count(*) FROM comments WHERE author_id {of}) AS comments,
               (SELECT count(*) FROM users WHERE id {of} AND sweep IS NOT NULL) AS noted
        """,
    )
    return Left(**row._mapping)


NOTHING = Left(profiles=0, posts=0, comments=0, noted=0)


async def posts(engine: AsyncEngine) -> dict[UUID, bool]:
    """Return the rows of posts, including empty ones, and whether each is due for sweeping."""
    return {row.id: row.sweep for row in await fetch(engine, "SELECT id, sweep FROM posts")}


async def swept_all(engine: AsyncEngine, deleted_authors: DeletedAuthors = "remove") -> int:
    """Run rounds until one makes no progress, and return their number."""
    rounds = 0
    while (await sweep(engine, deleted_authors)).made_progress:
        rounds += 1
    return rounds


async def written_as_a_request(connection: AsyncConnection, author: UUID) -> None:
    """Write a post and a comment with the locks of a request; the caller ends the transaction.

    Raises:
        Problem: the author is deleted.
    """
    await lock_author(connection, author)
    await connection.execute(
        text(
            "WITH post AS (INSERT INTO posts (author_id, title, body)"
            " VALUES (:id, 'On engines', 'They might compose music') RETURNING id)"
            " INSERT INTO comments (post_id, author_id, body) SELECT id, :id, 'Indeed' FROM post"
        ),
        {"id": author},
    )
