"""A delivery limit at the broker of only a few tries, and a database without write access."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from local.broker import Broker
from tests.support.eventually import eventually
from tests.support.load import sign_up
from tests.support.processes import run
from tests.support.settled import figure, is_settled, unpublished
from tests.support.source import DEAD, LIVE, Source
from tests.support.system import System, ended

USERS = 40
LIMIT = 3
KILLS = LIMIT + 1


@pytest.mark.slow
async def test_an_operators_delivery_limit_loses_no_event(
    system: System,
    source: Source,
    auth_engine: AsyncEngine,
    blog_engine: AsyncEngine,
    broker: Broker,
    vhost: str,
) -> None:
    """The consumer is killed more often than the limit allows deliveries."""
    await asyncio.to_thread(
        broker.set_operator_policy, vhost, "strict", "^blog.users$", {"delivery-limit": LIMIT}
    )
    relay = system.process("auth-service relay")
    consumer = system.process("blog-service consumer", BLOG_RETRY_SECONDS_MAX=0.5)
    with ended(relay, consumer):
        await asyncio.gather(relay.ready(), consumer.ready())
        async with without_write_access(blog_engine):
            async with auth_engine.begin() as connection:
                for _ in range(USERS):
                    await sign_up(connection)
            await eventually(lambda: _all_published(system))
            for _ in range(KILLS):
                await eventually(lambda: _taken(source), within=40)
                consumer.kill()
                await eventually(lambda: _back(source), within=40)
                consumer.start()

            await eventually(lambda: _is_not_quiet(system), within=40, every=0.5)

        await eventually(
            lambda: is_settled(system.auth_url, system.blog_url, source), within=40, every=0.5
        )

    assert await figure(system.blog_url, "SELECT count(*) FROM users") >= USERS


@asynccontextmanager
async def without_write_access(engine: AsyncEngine) -> AsyncIterator[None]:
    """Make the replica's table readable but not writable inside the block."""
    async with engine.connect() as connection:
        await connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
        await connection.execute(text("LOCK TABLE users IN EXCLUSIVE MODE"))
        yield
        await connection.rollback()


async def _all_published(system: System) -> bool:
    return await unpublished(system.auth_url) == 0


async def _taken(source: Source) -> bool:
    """Check that the consumer has all messages, or that the broker has given up on all of them."""
    return await source.ready(LIVE) == 0


async def _back(source: Source) -> bool:
    """Check that the broker knows the consumer is gone, and has its messages again."""
    ready, dead = await source.ready(LIVE), await source.ready(DEAD)
    return ready > 0 or dead > 0


async def _is_not_quiet(system: System) -> bool:
    command = "blog-service status --json"
    ended = await asyncio.to_thread(run, command, system.environment, system.folder)
    shown = json.loads(ended.stdout)
    assert not shown["pipe"].startswith("quiet"), shown
    return True
