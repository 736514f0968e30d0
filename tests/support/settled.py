"""The proof at the end of a test: both tables agree, and nothing is left anywhere on the way."""

import asyncpg

from local.compare import compare
from tests.support.source import DEAD, LIVE, Source


async def is_settled(auth_url: str, blog_url: str, source: Source) -> bool:
    """Whether all is published, consumed and equal field by field, with nothing parked or dead.

    The queues are looked at last: a message that a dead consumer held comes back late.
    """
    unpublished = await figure(
        auth_url, "SELECT count(*) FROM outbox_events WHERE published_at IS NULL"
    )
    assert not unpublished, f"{unpublished} events are not published"
    comparison = await compare(auth_url, blog_url)
    assert not comparison.differences, f"{comparison}: {comparison.differences[:3]}"
    assert comparison.users
    parked = await figure(blog_url, "SELECT count(*) FROM parked_messages")
    assert not parked, f"{parked} messages are parked"
    ready, dead = await source.ready(LIVE), await source.ready(DEAD)
    assert (ready, dead) == (0, 0), f"{ready} messages are ready, {dead} dead"
    return True


async def figure(url: str, query: str) -> int:
    """The one number of a query; asked on a connection of its own, for servers come and go."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=10)
    try:
        return int(await connection.fetchval(query) or 0)
    finally:
        await connection.close()


async def published(auth_url: str) -> int:
    """How many events were sent and confirmed; not those erased before, which are only marked."""
    return await figure(
        auth_url,
        "SELECT count(*) FROM outbox_events WHERE published_at IS NOT NULL AND payload IS NOT NULL",
    )


async def unpublished(auth_url: str) -> int:
    """How many events are not published yet."""
    return await figure(auth_url, "SELECT count(*) FROM outbox_events WHERE published_at IS NULL")


async def last_applied(blog_url: str) -> int:
    """When the replica changed last, in microseconds."""
    return await figure(
        blog_url, "SELECT (extract(epoch FROM max(applied_at)) * 1000000)::bigint FROM users"
    )
