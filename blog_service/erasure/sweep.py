"""Erase the content of deleted users and deleted posts in bounded rounds.

The tables say what is due (``due``), never a message. So a tombstone written by reconcile is swept
like one from an event, and an interrupted sweep resumes. Profiles are always erased. Posts and
comments are erased if BLOG_DELETED_AUTHORS is ``remove``, and always for orphans. A post is emptied
first, then the comments on it are erased, also those of other users, and then, if its author is
deleted, its row.

Guarantees: a round is one transaction of at most ``ROWS_MAX`` rows that waits for no lock. Among
all consumers only one round runs at a time. A user is marked as swept once they have no content and
none can be added. ``sweep_continuously`` runs until it is cancelled; live events do not wait for
it.

Not here: what readers see until then (``profiles.author``), how rows are erased (``content``).
"""

import time
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from blog_service.erasure import content, metrics
from blog_service.erasure.due import due_posts, due_users, mark_swept
from blog_service.erasure.model import POSTS_MAX, USERS_MAX, Swept, Unfinished
from blog_service.settings import ConsumerSettings, DeletedAuthors
from service_kit.database.rounds import repeat
from service_kit.database.sessions import NO_WAIT

log = structlog.get_logger()

LOOK_EVERY_SECONDS: Final = 1.0
"""A round with nothing due costs three small statements and writes nothing."""

LOCK_KEY: Final = 0x7573737765657021
""""ussweep!" in ASCII: the advisory lock that the current round holds."""

# These settings last for the transaction. Arrays of ids are short, despite the planner's
# estimates, so each id is looked up by index. If a crash of the server loses the commit, it loses
# the marks too, and the next round repeats the work.
_BEGIN = text(
    f"""
    SELECT pg_try_advisory_xact_lock(:key), {NO_WAIT},
           set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
           set_config('enable_mergejoin', 'off', true)
    """
)


async def sweep(engine: AsyncEngine, deleted_authors: DeletedAuthors) -> Swept:
    """Run one round; do nothing while another consumer runs one."""
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
        await mark_swept(connection, list(done))
        swept.note("user_id", ids, done)


async def _sweep_posts(connection: AsyncConnection, posts: list[UUID], swept: Swept) -> None:
    swept.comments += await content.erase_comments_on(connection, posts, limit=swept.room)
    ended = await content.settle_posts(connection, posts, limit=swept.room)
    swept.posts += sum(post.is_gone for post in ended)
    swept.settled += sum(not post.is_gone for post in ended)
    swept.note("post_id", posts, {post.id for post in ended})


async def sweep_continuously(settings: ConsumerSettings, engine: AsyncEngine) -> None:
    """Run rounds until cancelled: back to back while there is content to erase, else every second.

    Each pause is as long as the round before it, so that the million tombstones of a new replica
    do not slow down its initial load.
    """
    unfinished = Unfinished()

    async def one_round() -> float | None:
        began = time.monotonic()
        swept = await sweep(engine, settings.deleted_authors)
        now = time.monotonic()
        for owner, seconds in unfinished.note(swept, now).items():
            log.info("erasure.slow", **{owner.kind: str(owner.id)}, seconds=round(seconds, 1))
        return now - began if swept.made_progress else None

    await repeat("erasure", one_round, every_seconds=LOOK_EVERY_SECONDS)
