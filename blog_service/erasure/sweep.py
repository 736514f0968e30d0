"""Sweep: erase, a bounded round at a time, what deleted users and deleted posts leave behind.

What is due is read from the tables (``due``) and never from a message: so a tombstone that
reconcile wrote is swept like one of an event, and what was cut off goes on. A profile always goes;
posts and comments do where the settings say so, and an orphan's whatever they say. A post becomes a
deleted one first; then go the comments on it, also those of others, and then, if its author is
deleted, its row.

Guarantees: a round is one transaction of at most ``ROWS_MAX`` rows, and waits for nobody; there is
one at a time among all consumers; a user is marked swept when nothing of him is left and nothing
can be added. ``keep_swept`` never ends on its own, and live events do not wait for it.

Not here: what is shown until then (``profiles.author``), how rows are erased (``content``).
"""

import asyncio
import time
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from blog_service.erasure import content, metrics
from blog_service.erasure.due import due_posts, due_users
from blog_service.erasure.model import POSTS_MAX, USERS_MAX, Swept, Unfinished
from blog_service.settings import ConsumerSettings, DeletedAuthors
from replica import users as replica
from service_kit.database.away import DATABASE_AWAY

log = structlog.get_logger()

LOOK_EVERY_SECONDS: Final = 1.0
"""A look at which nothing is due costs three small statements, and writes nothing."""

LOCK_KEY: Final = 0x7573737765657021
""""ussweep!" in ASCII: the advisory lock of the round under way."""

# All for this transaction alone. Arrays of ids are short whatever the planner believes, so each is
# looked up by index. A commit that a crash of the server forgets is made again: its notes are
# forgotten with it.
_BEGIN = text(
    """
    SELECT pg_try_advisory_xact_lock(:key), set_config('synchronous_commit', 'off', true),
           set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
           set_config('enable_mergejoin', 'off', true)
    """
)


async def sweep(engine: AsyncEngine, deleted_authors: DeletedAuthors) -> Swept:
    """Make one round; nothing is done while another consumer makes one."""
    swept = Swept()
    async with engine.begin() as connection:
        if await connection.scalar(_BEGIN, {"key": LOCK_KEY}):
            await _sweep(connection, deleted_authors, swept)
    metrics.count(swept)
    return swept


async def _sweep(
    connection: AsyncConnection, deleted_authors: DeletedAuthors, swept: Swept
) -> None:
    users = await due_users(connection, USERS_MAX)
    ids = [user.id for user in users]
    losing = [user.id for user in users if user.is_orphan or deleted_authors == "remove"]
    if ids:
        swept.profiles = await content.erase_profiles(connection, ids)
    if losing:
        swept.comments += await content.erase_comments_of(connection, losing, limit=swept.room)
        swept.emptied += await content.empty_posts_of(connection, losing, limit=swept.room)
        swept.posts += await content.erase_empty_posts_of(connection, losing, limit=swept.room)
    if posts := await due_posts(connection, POSTS_MAX):
        await _sweep_posts(connection, posts, swept)
    if ids:
        bare = await content.without_content(connection, losing) if losing else []
        done = {*ids}.difference(losing).union(bare)
        await replica.mark_swept(connection, list(done))
        swept.note("user_id", ids, done)


async def _sweep_posts(connection: AsyncConnection, posts: list[UUID], swept: Swept) -> None:
    swept.comments += await content.erase_comments_on(connection, posts, limit=swept.room)
    ended = await content.settle_posts(connection, posts, limit=swept.room)
    swept.posts += sum(post.is_gone for post in ended)
    swept.settled += sum(not post.is_gone for post in ended)
    swept.note("post_id", posts, {post.id for post in ended})


async def keep_swept(settings: ConsumerSettings, engine: AsyncEngine) -> None:
    """Make round after round while there is something to do, and look again and again, for ever.

    It rests as long as each round took: a million tombstones of a new replica are no reason to slow
    down what fills it.
    """
    unfinished = Unfinished()
    while True:
        pause = LOOK_EVERY_SECONDS
        try:
            began = time.monotonic()
            swept = await sweep(engine, settings.deleted_authors)
            now = time.monotonic()
            if swept.has_come_further:
                pause = now - began
            for owner, seconds in unfinished.note(swept, now).items():
                log.info(
                    "sweep.took_long", **{owner.kind: str(owner.id)}, seconds=round(seconds, 1)
                )
        except DATABASE_AWAY as error:
            log.warning("sweep.database_away", error=type(error).__name__)
        # Live events go through this process too: whatever happens here, they go on.
        except Exception as error:
            log.error("sweep.unexpected", exc_info=error)
        await asyncio.sleep(pause)
