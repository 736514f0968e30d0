"""Write content as the blog's use cases do, and count what is left of it."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from blog_service.erasure.sweep import sweep, sweep_continuously
from blog_service.replica_of_users import USERS
from blog_service.settings import ConsumerSettings, DeletedAuthors
from blog_service.users.row_lock import lock_author
from contracts.events import Data
from tests.support.background import in_background
from tests.support.builders import a_state, a_tombstone
from tests.support.inbox import OnDatabase, apply_events

AT_ONCE = 10_000
"""Rows per statement, so that it ends in time even on an overloaded machine."""


@dataclass(frozen=True)
class Left:
    """The content left in a database, and the number of owners due for erasure."""

    profiles: int
    posts: int
    comments: int
    noted: int


NOTHING = Left(profiles=0, posts=0, comments=0, noted=0)


@dataclass(frozen=True)
class Content(OnDatabase):
    """Users and their content in a blog's database, past its API."""

    engine: AsyncEngine

    async def user(self) -> UUID:
        """Create a user with a profile."""
        state = a_state()
        await self.apply(state)
        await self.execute(
            "INSERT INTO profiles (user_id, display_name, bio)"
            f" VALUES ('{state.id}', 'Ada Lovelace', 'writes programs')"
        )
        return state.id

    async def delete(self, *user_ids: UUID) -> None:
        """Apply the users' tombstones."""
        await self.apply(*(a_tombstone(user_id) for user_id in user_ids))

    async def bury(self, user_id: UUID, version: int = 1) -> None:
        """Turn a user into an orphan, as a repair does."""
        async with self.engine.begin() as connection:
            await USERS.bury(connection, [(user_id, version)])

    async def post(self, author: UUID, service: str | None = None) -> UUID:
        """Create a post, by its author or a service."""
        post_id = uuid4()
        kept_by = f"'{service}'" if service else "NULL"
        await self.execute(
            "INSERT INTO posts (id, author_id, title, body, service_id) VALUES"
            f" ('{post_id}', '{author}', 'On engines', 'They might compose music', {kept_by})"
        )
        return post_id

    async def deleted_post(self, author: UUID, service: str | None = None) -> UUID:
        """Create a post that its author or a moderator has deleted."""
        post_id = await self.post(author, service)
        await self.execute(
            "UPDATE posts SET title = NULL, body = NULL, deleted_at = now(), sweep = true"
            f" WHERE id = '{post_id}'"
        )
        return post_id

    async def comments(self, author: UUID, post: UUID | None = None, count: int = 1) -> None:
        """Create comments on a post; without one, each on a different post that does not exist."""
        on = f"'{post}'" if post else "gen_random_uuid()"
        for first in range(1, count + 1, AT_ONCE):
            last = min(first + AT_ONCE - 1, count)
            await self.execute(
                "INSERT INTO comments (post_id, author_id, body)"
                f" SELECT {on}, '{author}', 'I quite agree ' || n"
                f" FROM generate_series({first}, {last}) AS n"
            )

    async def left(self, user_id: UUID | None = None) -> Left:
        """Return what is left of a user, or of all; empty posts do not count."""
        of = f"= '{user_id}'" if user_id else "IS NOT NULL"
        [row] = await self.fetch(
            f"""
            SELECT (SELECT count(*) FROM profiles WHERE user_id {of}) AS profiles,
                   (SELECT count(*) FROM posts WHERE author_id {of} AND title IS NOT NULL) AS posts,
                   (SELECT count(*) FROM comments WHERE author_id {of}) AS comments,
                   (SELECT count(*) FROM users WHERE id {of} AND sweep IS NOT NULL) AS noted
            """
        )
        return Left(**row._mapping)

    async def is_swept(self, user_id: UUID | None = None) -> bool:
        found = await self.left(user_id)
        assert found == NOTHING, f"{found} is left"
        return True

    async def posts(self) -> dict[UUID, bool]:
        """Return the rows of posts, including empty ones, and whether each is due for sweeping."""
        return {row.id: row.sweep for row in await self.fetch("SELECT id, sweep FROM posts")}

    async def note(self, user_id: UUID) -> str | None:
        """Return why the user's content is due for erasure."""
        [row] = await self.fetch("SELECT sweep FROM users WHERE id = :id", id=user_id)
        return None if row.sweep is None else str(row.sweep)

    async def count(self, what: str) -> int:
        [row] = await self.fetch(f"SELECT count(*) AS rows FROM {what}")
        return int(row.rows)

    async def sweep_all(self, deleted_authors: DeletedAuthors = "remove") -> int:
        """Run rounds until one makes no progress, and return their number."""
        rounds = 0
        while (await sweep(self.engine, deleted_authors)).made_progress:
            rounds += 1
        return rounds

    def kept_swept(self, **changes: object) -> AbstractAsyncContextManager[None]:
        """Sweep inside the block as a consumer does, with changes of its settings."""
        url = self.engine.url.render_as_string(hide_password=False)
        settings = ConsumerSettings(_env_file=None, database_url=url, amqp_url="amqp://nowhere")
        changed = settings.model_copy(update=changes)
        return in_background(sweep_continuously(changed, self.engine))

    async def apply(self, *data: Data) -> None:
        await apply_events(self.engine, *data)


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
