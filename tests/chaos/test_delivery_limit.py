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
from tests.support.load import sign_up_many
from tests.support.processes import run
from tests.support.settled import figure, settled, unpublished
from tests.support.source import DEAD, LIVE, Source
from tests.support.system import System, at_work

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

    async def all_published() -> bool:
        return await unpublished(system.auth_url) == 0

    async def taken() -> bool:
        """Whether the consumer has all messages, or the broker has given up on all of them."""
        return await source.ready(LIVE) == 0

    async def has_returned() -> bool:
        """Whether the broker knows the consumer is gone, and has its messages again."""
        return bool(await source.ready(LIVE) or await source.ready(DEAD))

    async def is_not_quiet() -> bool:
        command = "blog-service status --json"
        shown = await asyncio.to_thread(run, command, system.environment, system.folder)
        return not json.loads(shown.stdout)["pipe"].startswith("quiet")

    await asyncio.to_thread(
        broker.set_operator_policy, vhost, "strict", "^blog.users$", {"delivery-limit": LIMIT}
    )
    relay = system.process("auth-service relay")
    consumer = system.process("blog-service consumer", BLOG_RETRY_SECONDS_MAX=0.5)
    async with at_work(relay, consumer):
        async with without_write_access(blog_engine):
            await sign_up_many(auth_engine, USERS)
            await eventually(all_published)
            for _ in range(KILLS):
                await eventually(taken, within=40)
                consumer.kill()
                await eventually(has_returned, within=40)
                consumer.start()

            await eventually(is_not_quiet, within=40, every=0.5)

        await settled(system, source)

    assert await figure(system.blog_url, "SELECT count(*) FROM users") >= USERS


@asynccontextmanager
async def without_write_access(engine: AsyncEngine) -> AsyncIterator[None]:
    """Make the replica's table readable but not writable inside the block."""
    async with engine.connect() as connection:
        await connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
        await connection.execute(text("LOCK TABLE users IN EXCLUSIVE MODE"))
        yield
        await connection.rollback()
