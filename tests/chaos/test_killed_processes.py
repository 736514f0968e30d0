"""Processes are killed at every step of the journey; in the end both tables agree."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

import pytest
from aiormq.abc import DeliveredMessage
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.urgent import is_urgent
from blog_service.replica_of_users import USERS
from contracts.events import UserEvent
from replica.inbox.topology import declare
from tests.support.broker_accounts import as_consumer, as_relay
from tests.support.erasing import NOTHING, Content
from tests.support.eventually import eventually
from tests.support.load import loaded, sign_up_many
from tests.support.relaying import Carried
from tests.support.settled import figure, grows, last_applied, published, settled, unpublished
from tests.support.source import Source
from tests.support.system import Member, System, at_work, broker_behind_a_proxy, ended

QUICK = {"AUTH_RETRY_SECONDS_MAX": 0.2, "BLOG_RETRY_SECONDS_MAX": 0.2}


@pytest.mark.parametrize(
    ("kills", "changes_min"), [(2, 100), pytest.param(20, 1_000, marks=pytest.mark.slow)]
)
async def test_killing_relay_and_consumer_under_load_loses_nothing(
    system: System, source: Source, auth_engine: AsyncEngine, kills: int, changes_min: int
) -> None:
    """Both get SIGKILL again and again at work, while users sign up, change and are deleted.

    Heartbeats survive what events survive.
    """
    relay = system.process("auth-service relay", AUTH_HEARTBEAT_SECONDS=0.5)
    # A redelivered message comes alone, so a large prefetch would make each restart slow.
    consumer = system.process("blog-service consumer", BLOG_ATTEMPTS_MAX=100, BLOG_PREFETCH=100)
    with ended(relay, consumer):
        async with loaded(auth_engine) as load:
            await asyncio.gather(
                _kill_at_work(relay, kills, lambda: published(system.auth_url)),
                _kill_at_work(consumer, kills, lambda: last_applied(system.blog_url)),
            )
            await eventually(lambda: load.changes > changes_min, within=120)
            heartbeat = await figure(system.auth_url, "SELECT heartbeat FROM source")

        await settled(system, source)

    assert heartbeat > 0
    assert await figure(system.blog_url, "SELECT max(number) FROM heartbeats") >= heartbeat


async def test_a_relay_killed_between_publish_and_mark_publishes_again(
    system: System, source: Source, auth_engine: AsyncEngine
) -> None:
    """The broker has the events but the confirms are lost: they are sent again without effect."""
    await declare(source.connection, USERS.queues)
    recorded = await source.record()
    async with broker_behind_a_proxy(system.amqp_url) as (proxy, amqp_url):
        unlucky = system.process("auth-service relay", AUTH_AMQP_URL=as_relay(amqp_url))
        next_one = system.process("auth-service relay")
        consumer = system.process("blog-service consumer")
        with ended(unlucky, next_one, consumer):
            unlucky.start()
            await eventually(lambda: _published_and_idle(system))
            proxy.swallow_answers()
            before = len(recorded)
            await sign_up_many(auth_engine, 100)
            await eventually(lambda: len(recorded) >= before + 100)
            unmarked = await unpublished(system.auth_url)
            unlucky.kill()
            next_one.start()
            consumer.start()

            await settled(system, source)

    ids = [message.header.properties.message_id for message in recorded[before:]]
    assert unmarked >= 100
    assert len(ids) >= 200
    assert len(set(ids)) < len(ids)


async def test_a_consumer_killed_between_commit_and_acknowledgement_applies_again(
    system: System, source: Source, auth_engine: AsyncEngine
) -> None:
    """The replica has the events but the broker does not know: they come again without effect."""

    async def replicated() -> bool:
        return await figure(system.blog_url, "SELECT count(*) FROM users") == 100

    async def returned() -> bool:
        return await source.ready() >= 100

    async def changed_nothing() -> bool:
        found = await next_one.metric('usersync_inbox_messages_total{outcome="unchanged"}')
        assert found == 100, f"{found} messages changed nothing"
        return True

    async with broker_behind_a_proxy(system.amqp_url) as (proxy, amqp_url):
        relay = system.process("auth-service relay")
        unlucky = system.process("blog-service consumer", BLOG_AMQP_URL=as_consumer(amqp_url))
        next_one = system.process("blog-service consumer")
        with ended(relay, unlucky, next_one):
            await asyncio.gather(relay.ready(), unlucky.ready())
            proxy.swallow_requests()
            await sign_up_many(auth_engine, 100)
            await eventually(replicated)
            before = await last_applied(system.blog_url)
            unlucky.kill()
            proxy.cut()
            await eventually(returned)
            await next_one.ready()
            await settled(system, source)

            await eventually(changed_nothing)

    assert await last_applied(system.blog_url) == before


@pytest.mark.parametrize(
    ("changes", "share_min"), [(300, 20), pytest.param(1_500, 100, marks=pytest.mark.slow)]
)
async def test_two_consumers_share_a_queue_and_agree(
    system: System, source: Source, auth_engine: AsyncEngine, changes: int, share_min: int
) -> None:
    relay = system.process("auth-service relay")
    consumers = [
        system.process("blog-service consumer", BLOG_PREFETCH=20, BLOG_BATCH_SIZE=10)
        for _ in range(2)
    ]
    async with at_work(relay, *consumers):
        async with loaded(auth_engine, per_second=500) as load:
            await eventually(lambda: load.changes >= changes, within=120)
        await settled(system, source)

        shares = [
            await consumer.metric('usersync_inbox_messages_total{outcome="applied"}')
            for consumer in consumers
        ]

    assert min(shares) > share_min


@pytest.mark.slow
@pytest.mark.usefixtures("source")
async def test_a_killed_sweep_is_resumed(system: System, blog_engine: AsyncEngine) -> None:
    """However often the consumer is killed during it, nothing of the user is left in the end."""
    content = Content(blog_engine)
    user = await content.user()
    await content.comments(user, await content.post(user), 40_000)
    consumer = system.process("blog-service consumer")

    async def erased() -> int:
        return 40_000 - (await content.left(user)).comments

    async def all_erased() -> bool:
        return await content.left(user) == NOTHING

    await content.delete(user)
    with ended(consumer):
        await _kill_at_work(consumer, 3, erased)
        after_the_kills = await content.left(user)
        await eventually(all_erased, every=0.05)

    assert after_the_kills.comments > 0
    assert (after_the_kills.profiles, after_the_kills.noted) == (0, 1)


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
async def test_order_per_user_survives_takeovers_of_relays(
    system: System, source: Source, auth_engine: AsyncEngine, kills: int
) -> None:
    """However often the active relay is killed, first publications of a user stay in order.

    Urgent ones overtake the others, and stay in order too.
    """
    await declare(source.connection, USERS.queues)
    recorded = await source.record()
    relays = [system.process("auth-service relay", **QUICK) for _ in range(2)]
    consumer = system.process("blog-service consumer")
    async with at_work(*relays, consumer):
        async with loaded(auth_engine, per_second=400):
            for _ in range(kills):
                active = await eventually(lambda: _active(relays), within=30)
                assert active
                await grows(lambda: published(system.auth_url), 20)
                active.kill()
                others = [relay for relay in relays if relay is not active]
                await eventually(partial(_active, others), within=30)
                await active.ready()
            await eventually(
                lambda: len({each.data.id for each in _first_publications(recorded)}) > 100
            )
        await settled(system, source)

    versions = defaultdict(list)
    for event in _first_publications(recorded):
        versions[event.data.id, is_urgent(event.data)].append(event.data.version)
    assert max(len(each) for each in versions.values()) > 1
    assert all(each == sorted(set(each)) for each in versions.values()), "turned round"


def _first_publications(messages: list[DeliveredMessage]) -> list[UserEvent]:
    """Return all events about users, without repetitions."""
    events: dict[UUID, UserEvent] = {}
    for message in messages:
        event = Carried(message).event
        if isinstance(event, UserEvent):
            events.setdefault(event.id, event)
    return list(events.values())


async def _kill_at_work(
    process: Member, times: int, progress: Callable[[], Awaitable[int]]
) -> None:
    """Start it, wait until it has done some work, and kill it, so many times; then start it."""
    for _ in range(times):
        process.start()
        await grows(progress)
        process.kill()
    process.start()


async def _published_and_idle(system: System) -> bool:
    return await published(system.auth_url) > 0 and await unpublished(system.auth_url) == 0


async def _active(relays: list[Member]) -> Member | None:
    for relay in relays:
        if relay.is_running and await relay.metric("usersync_relay_active") == 1:
            return relay
    return None
