"""Check at the end of a test that both tables are equal and no message is left on the way."""

from collections.abc import Awaitable, Callable

from local.compare import compare
from tests.support.driver import connected
from tests.support.eventually import eventually
from tests.support.source import DEAD, LIVE, Source
from tests.support.system import System


async def settled(system: System, source: Source) -> None:
    """Wait until all events are published and applied, with nothing parked or dead-lettered."""
    await eventually(
        lambda: _is_settled(system.auth_url, system.blog_url, source), within=90, every=0.2
    )


async def _is_settled(auth_url: str, blog_url: str, source: Source) -> bool:
    """Check the queues last: a message of a killed consumer returns to its queue late."""
    waiting = await unpublished(auth_url)
    assert not waiting, f"{waiting} events are not published"
    comparison = await compare(auth_url, blog_url)
    assert not comparison.differences, f"{comparison}: {comparison.differences[:3]}"
    assert comparison.users
    parked = await figure(blog_url, "SELECT count(*) FROM parked_messages")
    assert not parked, f"{parked} messages are parked"
    ready, dead = await source.ready(LIVE), await source.ready(DEAD)
    assert (ready, dead) == (0, 0), f"{ready} messages are ready, {dead} dead"
    return True


async def grows(count: Callable[[], Awaitable[int]], by: int = 1, *, every: float = 0.02) -> None:
    """Wait until a number is higher than now, by at least ``by``."""
    least = await count() + by

    async def has_grown() -> bool:
        found = await count()
        assert found >= least, f"{found}, not {least}"
        return True

    await eventually(has_grown, every=every)


async def figure(url: str, query: str) -> int:
    """Return the number that a query selects, on a new connection because servers restart."""
    async with connected(url, seconds_max=10) as connection:
        return int(await connection.fetchval(query) or 0)


async def published(auth_url: str) -> int:
    """Count the published events, without those whose payload was erased before."""
    return await figure(
        auth_url,
        "SELECT count(*) FROM outbox_events WHERE published_at IS NOT NULL AND payload IS NOT NULL",
    )


async def unpublished(auth_url: str) -> int:
    return await figure(auth_url, "SELECT count(*) FROM outbox_events WHERE published_at IS NULL")


async def last_applied(blog_url: str) -> int:
    """Return when the replica changed last, in microseconds."""
    return await figure(
        blog_url, "SELECT (extract(epoch FROM max(applied_at)) * 1000000)::bigint FROM users"
    )
