"""Processes are killed at every step of the journey; in the end both tables agree."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

import pytest
from aiormq.abc import DeliveredMessage
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.heartbeat import record_heartbeat
from blog_service.replica_of_users import USERS
from replica.inbox.topology import declare
from tests.support.erasing import NOTHING, a_post, a_user, comments, deleted, left
from tests.support.eventually import eventually
from tests.support.load import loaded, sign_up
from tests.support.settled import figure, is_settled, last_applied, published, unpublished
from tests.support.source import Source
from tests.support.system import Member, System, broker_behind_a_proxy, ended

QUICK = {"AUTH_RETRY_SECONDS_MAX": 0.2, "BLOG_RETRY_SECONDS_MAX": 0.2}


@pytest.mark.parametrize(
    ("kills", "changes_min"), [(2, 100), pytest.param(20, 1_000, marks=pytest.mark.slow)]
)
async def test_killing_relay_and_consumer_under_load_loses_nothing(
    system: System, source: Source, auth_engine: AsyncEngine, kills: int, changes_min: int
) -> None:
    """Both get SIGKILL again and again at work, while users sign up, change and are deleted."""
    relay = system.process("auth-service relay")
    # A redelivered message comes alone, so a large prefetch would make each restart slow.
    consumer = system.process("blog-service consumer", BLOG_ATTEMPTS_MAX=100, BLOG_PREFETCH=100)
    with ended(relay, consumer):
        async with loaded(auth_engine) as load:
            await asyncio.gather(
                _kill_at_work(relay, kills, lambda: published(system.auth_url)),
                _kill_at_work(consumer, kills, lambda: last_applied(system.blog_url)),
            )
            await eventually(lambda: load.changes > changes_min, within=120)

        await eventually(
            lambda: is_settled(system.auth_url, system.blog_url, source), within=60, every=0.5
        )


async def test_a_relay_killed_between_publish_and_mark_publishes_again(
    system: System, source: Source, auth_engine: AsyncEngine
) -> None:
    """The broker has the events but the confirms are lost: they are sent again without effect."""
    await declare(source.connection, USERS.queues)
    recorded = await source.record()
    async with broker_behind_a_proxy(system.amqp_url) as (proxy, amqp_url):
        unlucky = system.process("auth-service relay", AUTH_AMQP_URL=amqp_url)
        next_one = system.process("auth-service relay")
        consumer = system.process("blog-service consumer")
        with ended(unlucky, next_one, consumer):
            unlucky.start()
            await eventually(lambda: _published_and_idle(system))
            proxy.swallow_answers()
            before = len(recorded)
            await _sign_up(auth_engine, 100)
            await eventually(lambda: len(recorded) >= before + 100)
            unmarked = await unpublished(system.auth_url)
            unlucky.kill()
            next_one.start()
            consumer.start()

            await eventually(
                lambda: is_settled(system.auth_url, system.blog_url, source), within=40, every=0.2
            )

    ids = [message.header.properties.message_id for message in recorded[before:]]
    assert unmarked >= 100
    assert len(ids) >= 200
    assert len(set(ids)) < len(ids)


async def test_a_consumer_killed_between_commit_and_acknowledgement_applies_again(
    system: System, source: Source, auth_engine: AsyncEngine
) -> None:
    """The replica has the events but the broker does not know: they come again without effect."""
    async with broker_behind_a_proxy(system.amqp_url) as (proxy, amqp_url):
        relay = system.process("auth-service relay")
        unlucky = system.process("blog-service consumer", BLOG_AMQP_URL=amqp_url)
        next_one = system.process("blog-service consumer")
        with ended(relay, unlucky, next_one):
            await asyncio.gather(relay.ready(), unlucky.ready())
            proxy.swallow_requests()
            await _sign_up(auth_engine, 100)
            await eventually(lambda: _replicated(system, 100))
            before = await last_applied(system.blog_url)
            unlucky.kill()
            proxy.cut()
            await eventually(lambda: _has_ready(source, 100))

            await next_one.ready()
            await eventually(
                lambda: is_settled(system.auth_url, system.blog_url, source), within=40, every=0.2
            )

            await eventually(lambda: _has_changed_nothing(next_one, 100))

    assert await last_applied(system.blog_url) == before


@pytest.mark.usefixtures("source")
async def test_heartbeats_survive_what_events_survive(
    system: System, auth_engine: AsyncEngine
) -> None:
    """The replica's last number equals the source's, after both ends were killed."""
    relay = system.process("auth-service relay", AUTH_HEARTBEAT_SECONDS=0.1)
    consumer = system.process("blog-service consumer")
    with ended(relay, consumer):
        for _ in range(2):
            await asyncio.gather(relay.ready(), consumer.ready())
            relay.kill()
            consumer.kill()
        async with auth_engine.begin() as connection:
            await record_heartbeat(connection)
            last: int = await connection.scalar(text("SELECT heartbeat FROM source"))
        relay.start()
        consumer.start()

        await eventually(lambda: _has_heartbeat(system, last), within=30, every=0.1)


@pytest.mark.parametrize(
    ("changes", "share_min"), [(300, 20), pytest.param(1_500, 100, marks=pytest.mark.slow)]
)
async def test_two_consumers_share_a_queue_and_agree(
    system: System, source: Source, auth_engine: AsyncEngine, changes: int, share_min: int
) -> None:
    """They apply events of the same users in parallel, and neither reverses their order."""
    relay = system.process("auth-service relay")
    consumers = [
        system.process("blog-service consumer", BLOG_PREFETCH=20, BLOG_BATCH_SIZE=10)
        for _ in range(2)
    ]
    with ended(relay, *consumers):
        await asyncio.gather(relay.ready(), *(consumer.ready() for consumer in consumers))
        async with loaded(auth_engine, per_second=500) as load:
            await eventually(lambda: load.changes >= changes, within=120)
        await eventually(
            lambda: is_settled(system.auth_url, system.blog_url, source), within=60, every=0.2
        )

        shares = [
            await consumer.metric('usersync_inbox_messages_total{outcome="applied"}')
            for consumer in consumers
        ]

    assert min(shares) > share_min


@pytest.mark.slow
@pytest.mark.usefixtures("source")
async def test_a_killed_sweep_is_resumed(system: System, blog_engine: AsyncEngine) -> None:
    """However often the consumer is killed during it, nothing of the user is left in the end."""
    user = await a_user(blog_engine)
    await comments(blog_engine, user, await a_post(blog_engine, user), 40_000)
    consumer = system.process("blog-service consumer")

    async def erased() -> int:
        return 40_000 - (await left(blog_engine, user)).comments

    await deleted(blog_engine, user)
    with ended(consumer):
        await _kill_at_work(consumer, 3, erased)
        after_the_kills = await left(blog_engine, user)
        await eventually(lambda: _nothing_is_left(blog_engine, user), within=60, every=0.05)

    assert after_the_kills.comments > 0
    assert (after_the_kills.profiles, after_the_kills.noted) == (0, 1)


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
async def test_order_per_user_survives_takeovers_of_relays(
    system: System, source: Source, auth_engine: AsyncEngine, kills: int
) -> None:
    """However often the active relay is killed, first publications of a user stay in order."""
    await declare(source.connection, USERS.queues)
    recorded = await source.record()
    relays = [system.process("auth-service relay", **QUICK) for _ in range(2)]
    consumer = system.process("blog-service consumer")
    with ended(*relays, consumer):
        await asyncio.gather(consumer.ready(), *(relay.ready() for relay in relays))
        async with loaded(auth_engine, per_second=400):
            for _ in range(kills):
                active = await eventually(lambda: _active(relays), within=30)
                assert active
                before = await published(system.auth_url)
                await eventually(partial(_more_published, system, before + 20))
                active.kill()
                await eventually(partial(_other_active, relays, active), within=30)
                await active.ready()
            await eventually(lambda: len(_users(recorded)) > 100, within=60)
        await eventually(
            lambda: is_settled(system.auth_url, system.blog_url, source), within=60, every=0.5
        )

    seen: set[str | None] = set()
    versions: dict[str, int] = {}
    for message in recorded:
        headers = message.header.properties.headers or {}
        if "cloudEvents_subject" in headers and message.header.properties.message_id not in seen:
            user_id = str(headers["cloudEvents_subject"])
            version = int(str(headers["cloudEvents_subjectversion"]))
            assert versions.get(user_id, 0) < version, "turned round"
            versions[user_id] = version
        seen.add(message.header.properties.message_id)
    assert versions.keys() == _users(recorded)


def _users(messages: list[DeliveredMessage]) -> set[str]:
    headers = (message.header.properties.headers or {} for message in messages)
    return {str(each["cloudEvents_subject"]) for each in headers if "cloudEvents_subject" in each}


async def _kill_at_work(
    process: Member, times: int, progress: Callable[[], Awaitable[int]]
) -> None:
    """Start it, wait until it has done some work, and kill it, so many times; then start it."""
    for _ in range(times):
        before = await progress()
        process.start()
        await eventually(partial(_is_more, progress, before), within=60, every=0.02)
        process.kill()
    process.start()


async def _is_more(progress: Callable[[], Awaitable[int]], before: int) -> bool:
    return await progress() > before


async def _sign_up(engine: AsyncEngine, users: int) -> None:
    async with engine.begin() as connection:
        for _ in range(users):
            await sign_up(connection)


async def _nothing_is_left(engine: AsyncEngine, user: UUID) -> bool:
    return await left(engine, user) == NOTHING


async def _published_and_idle(system: System) -> bool:
    return await published(system.auth_url) > 0 and await unpublished(system.auth_url) == 0


async def _more_published(system: System, number: int) -> bool:
    return await published(system.auth_url) >= number


async def _replicated(system: System, users: int) -> bool:
    return await figure(system.blog_url, "SELECT count(*) FROM users") == users


async def _has_ready(source: Source, messages: int) -> bool:
    return await source.ready() >= messages


async def _has_changed_nothing(consumer: Member, messages: int) -> bool:
    found = await consumer.metric('usersync_inbox_messages_total{outcome="unchanged"}')
    assert found == messages, f"{found} messages changed nothing"
    return True


async def _has_heartbeat(system: System, number: int) -> bool:
    return await figure(system.blog_url, "SELECT max(number) FROM heartbeats") >= number


async def _active(relays: list[Member]) -> Member | None:
    for relay in relays:
        if relay.is_running and await relay.metric("usersync_relay_active") == 1:
            return relay
    return None


async def _other_active(relays: list[Member], than: Member) -> bool:
    return await _active([relay for relay in relays if relay is not than]) is not None
