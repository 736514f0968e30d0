"""What the relay does while the broker is away, silent or full, or no queue is bound."""

import asyncio

from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.accounts.delete import delete
from auth_service.accounts.sign_up import sign_up
from auth_service.outbox.publisher import Outcome
from auth_service.settings import RelaySettings
from auth_service.users.passwords import Passwords
from contracts.events import Heartbeat, UserDeleted
from local.broker import Broker
from tests.support.builders import a_state
from tests.support.eventually import eventually
from tests.support.relaying import (
    QUEUE,
    Carried,
    Pipe,
    assert_in_order_per_user,
    bind,
    drained,
    proxied,
    published,
    recorded,
    relaying,
    rounds,
    trouble,
)
from tests.support.source import Source

PASSWORD = "heron lantern gravel sonnet"
REFUSED = "a queue refuses events: it is full, or most of its nodes are away"
ONE_HEARTBEAT = {"heartbeat_seconds": 3600.0, "retry_seconds_max": 0.1}


async def test_a_returned_event_stays_unpublished_until_a_queue_is_bound(unbound: Pipe) -> None:
    """Without a queue the relay reports it and loses nothing; once one is bound it publishes."""
    states = [a_state() for _ in range(5)]
    await unbound.record(*states)
    async with unbound.relaying(**ONE_HEARTBEAT):
        await eventually(lambda: unbound.has_trouble("no queue is bound to the exchange"))
        before = await unbound.outbox()

        await unbound.bind()
        messages = await unbound.taken(5)

        await eventually(unbound.all_published)
        await eventually(lambda: unbound.has_trouble(None))
    assert [row.published_at for row in before] == [None] * 5
    assert [message.event.data.subject for message in messages] == [state.id for state in states]


async def test_one_event_at_a_time_is_tried_while_they_are_returned(
    auth_engine: AsyncEngine, relay_settings: RelaySettings
) -> None:
    """A broker without a queue is not flooded: after the first refusal one event is enough."""
    await recorded(auth_engine, *(a_state() for _ in range(40)))
    settings = relay_settings.model_copy(update=ONE_HEARTBEAT)
    before = published("returned")

    async with relaying(settings):
        await eventually(lambda: published("returned") >= before + 45)
        tried = published("returned") - before

    assert 45 <= tried <= 50


async def test_the_order_per_user_survives_refusals(
    unbound: Pipe, broker: Broker, vhost: str
) -> None:
    """A full queue refuses events in any mixture; two events of one user never swap places."""
    await bind(unbound.source, kind="classic")
    broker.set_policy(vhost, "full", f"^{QUEUE}$", {"max-length": 2, "overflow": "reject-publish"})
    users = [a_state().id for _ in range(4)]
    await unbound.record(*(a_state(user, version) for version in range(1, 7) for user in users))
    before = published("nacked")
    async with unbound.relaying(**ONE_HEARTBEAT):
        await eventually(lambda: unbound.has_trouble(REFUSED))

        messages = await unbound.taken(24, within=60)

        await eventually(unbound.all_published)
        await eventually(lambda: unbound.has_trouble(None))
    assert published("nacked") > before
    assert_in_order_per_user(messages)
    assert {(m.event.data.subject, m.event.data.subject_version) for m in messages} == {
        (user, version) for version in range(1, 7) for user in users
    }


async def test_a_queue_that_keeps_refusing_is_tried_on_another_connection(
    unbound: Pipe, broker: Broker, vhost: str
) -> None:
    """RabbitMQ 3.10 permanently refuses on a channel that was opened without a leader of the queue.

    A full queue stands for that here; ``test_broker_cluster.py`` has the real thing.
    """
    await bind(unbound.source, kind="classic")
    broker.set_policy(vhost, "full", f"^{QUEUE}$", {"max-length": 0, "overflow": "reject-publish"})
    await unbound.record(a_state())
    once = unbound.settings.model_copy(update=ONE_HEARTBEAT)
    async with proxied(once) as (proxy, settings), relaying(settings):
        await eventually(lambda: proxy.accepted > 2)
        assert await unbound.has_trouble(REFUSED)
        broker.clear_policy(vhost, "full")
        await eventually(unbound.all_published)


async def test_a_refused_user_gets_no_further_event(unbound: Pipe) -> None:
    """A second event must not overtake the first: all three are set aside."""
    user = a_state()
    await unbound.record(user, a_state(user.id, 2), a_state(user.id, 3))

    async with unbound.rounds() as run_once:
        done = await drained(run_once)
    await unbound.bind()
    async with unbound.relaying():
        messages = await unbound.taken(3)

    assert [each.outcomes for each in done] == [{Outcome.RETURNED: 1}, {}, {}]
    assert [each.set_aside for each in done] == [1, 1, 1]
    assert [message.event.data.subject_version for message in messages] == [1, 2, 3]


async def test_a_lost_confirm_repeats_an_event_and_never_loses_one(pipe: Pipe) -> None:
    """The broker stores the event but its confirm is lost: the event is published a second time."""
    state = a_state()
    fast = pipe.settings.model_copy(update=ONE_HEARTBEAT | {"publish_timeout_seconds": 0.5})
    async with proxied(fast) as (proxy, settings), relaying(settings):
        await pipe.record(a_state())
        await pipe.taken(1)
        await eventually(pipe.all_published)

        proxy.swallow_answers()
        await pipe.record(state)
        [first] = await pipe.taken(1)
        await eventually(lambda: pipe.has_trouble("the broker does not confirm"))
        between = await pipe.outbox(state.id)
        proxy.cut()
        proxy.swallow_answers(False)
        [second] = await pipe.taken(1)

        await eventually(pipe.all_published)
    assert [row.published_at for row in between] == [None]
    assert first.event == second.event
    assert first.event.data.subject == state.id


async def test_a_lost_connection_loses_no_event(pipe: Pipe) -> None:
    """However often the connection breaks under load, every event arrives, in order per user."""
    users = [a_state().id for _ in range(5)]
    async with (
        proxied(pipe.settings.model_copy(update=ONE_HEARTBEAT)) as (proxy, settings),
        relaying(settings),
    ):
        for version in range(1, 6):
            await pipe.record(*(a_state(user, version) for user in users))
            await eventually(lambda: some_arrived(pipe.source))
            proxy.cut()

        await eventually(pipe.all_published, within=60)

    messages = [Carried(message) for message in await pipe.source.take_all(QUEUE)]
    messages = [message for message in messages if message.routing_key != Heartbeat.type]
    assert_in_order_per_user(messages)
    assert {(m.event.data.subject, m.event.data.subject_version) for m in messages} == {
        (user, version) for version in range(1, 6) for user in users
    }


async def test_sign_ups_succeed_while_the_broker_is_away(passwords: Passwords, pipe: Pipe) -> None:
    """No request touches the broker; every event stays recorded and is published later."""
    async with proxied(pipe.settings.model_copy(update=ONE_HEARTBEAT)) as (proxy, settings):
        proxy.refuse()
        async with relaying(settings):
            users = [
                await sign_up(
                    pipe.engine, passwords, email=f"user{n}@example.org", password=PASSWORD
                )
                for n in range(3)
            ]
            await eventually(lambda: is_away(pipe.engine))
            before = await pipe.outbox()

            proxy.refuse(False)
            messages = await pipe.taken(3)

            await eventually(lambda: pipe.has_trouble(None))
    assert [row.published_at for row in before] == [None] * 3
    assert {message.event.data.subject for message in messages} == {user.id for user in users}


async def test_deleting_an_account_never_waits_for_the_broker(
    passwords: Passwords, pipe: Pipe
) -> None:
    """No row is locked while a confirm is outstanding."""
    ada = await sign_up(pipe.engine, passwords, email="ada@example.org", password=PASSWORD)
    async with proxied(pipe.settings) as (proxy, settings), rounds(settings) as run_once:
        proxy.swallow_answers()
        running = asyncio.ensure_future(run_once())
        [created] = await pipe.taken(1)

        # The lock time-out is two seconds, so waiting for a row would raise.
        await delete(pipe.engine, passwords, ada.id, password=PASSWORD)

        meanwhile = await pipe.outbox(ada.id)
        assert not running.done()
        proxy.swallow_answers(False)
        await running
        await run_once()

    [deleted] = await pipe.taken(1)
    assert [row.published_at for row in meanwhile] == [None, None]
    assert created.event.data.subject == ada.id
    assert deleted.routing_key == UserDeleted.type


async def has_trouble(engine: AsyncEngine, expected: str | None) -> bool:
    return await trouble(engine) == expected


async def is_away(engine: AsyncEngine) -> bool:
    return (await trouble(engine) or "").startswith("the broker is away")


async def some_arrived(source: Source) -> bool:
    return await source.ready(QUEUE) > 0
