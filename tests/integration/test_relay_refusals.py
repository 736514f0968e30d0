"""What the relay does while the broker is away, silent or full, or no queue is bound."""

import asyncio

from auth_service.outbox.publisher import Outcome
from contracts.events import UserDeleted
from local.broker import Broker
from tests.support.accounts import Accounts
from tests.support.builders import a_state
from tests.support.eventually import eventually
from tests.support.relaying import (
    QUEUE,
    Pipe,
    assert_all_in_order,
    bind,
    drained,
    proxied,
    published,
    relaying,
    rounds,
)
from tests.support.source import Source

REFUSED = "a queue refuses events: it is full, or most of its nodes are away"
ONE_HEARTBEAT = {"heartbeat_seconds": 3600.0, "retry_seconds_max": 0.1}


async def test_a_returned_event_stays_unpublished_until_a_queue_is_bound(unbound: Pipe) -> None:
    """Without a queue the relay reports it and loses nothing; once one is bound it publishes."""
    states = [a_state() for _ in range(5)]
    await unbound.record(*states)
    async with unbound.relaying(**ONE_HEARTBEAT):
        await unbound.has_trouble("no queue is bound to the exchange")
        before = await unbound.outbox()

        await unbound.bind()
        messages = await unbound.taken(5)

        await eventually(unbound.all_published)
        await unbound.has_trouble(None)
    assert [row.published_at for row in before] == [None] * 5
    assert [message.event.data.subject for message in messages] == [state.id for state in states]


async def test_one_event_at_a_time_is_tried_while_they_are_returned(unbound: Pipe) -> None:
    """A broker without a queue is not flooded: after the first refusal one event is enough."""
    await unbound.record(*(a_state() for _ in range(40)))
    before = published("returned")

    async with unbound.relaying(**ONE_HEARTBEAT):
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
        await unbound.has_trouble(REFUSED)

        messages = await unbound.taken(24, within=60)

        await eventually(unbound.all_published)
        await unbound.has_trouble(None)
    assert published("nacked") > before
    assert_all_in_order(messages, users, range(1, 7))


async def test_a_queue_that_keeps_refusing_is_tried_on_another_connection(
    unbound: Pipe, broker: Broker, vhost: str
) -> None:
    """RabbitMQ 3.10 permanently refuses on a channel that was opened without a leader of the queue.

    A full queue stands for that here; ``test_broker_cluster.py`` has the real thing.
    """
    await bind(unbound.source, kind="classic")
    broker.set_policy(vhost, "full", f"^{QUEUE}$", {"max-length": 0, "overflow": "reject-publish"})
    await unbound.record(a_state())
    once = unbound.changed(**ONE_HEARTBEAT)
    async with proxied(once) as (proxy, settings), relaying(settings):
        await eventually(lambda: proxy.accepted > 2)
        await unbound.has_trouble(REFUSED)
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
    fast = pipe.changed(**ONE_HEARTBEAT, publish_timeout_seconds=0.5)
    async with proxied(fast) as (proxy, settings), relaying(settings):
        await pipe.record(a_state())
        await pipe.taken(1)
        await eventually(pipe.all_published)

        proxy.swallow_answers()
        await pipe.record(state)
        [first] = await pipe.taken(1)
        await pipe.has_trouble("the broker does not confirm")
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
    changed = pipe.changed(**ONE_HEARTBEAT)
    async with proxied(changed) as (proxy, settings), relaying(settings):
        for version in range(1, 6):
            await pipe.record(*(a_state(user, version) for user in users))
            await eventually(lambda: some_arrived(pipe.source))
            proxy.cut()

        await eventually(pipe.all_published, within=60)

    assert_all_in_order(await pipe.rest(), users, range(1, 6))


async def test_sign_ups_succeed_while_the_broker_is_away(accounts: Accounts, pipe: Pipe) -> None:
    """No request touches the broker; every event stays recorded and is published later."""
    async with proxied(pipe.changed(**ONE_HEARTBEAT)) as (proxy, settings):
        proxy.refuse()
        async with relaying(settings):
            users = [await accounts.sign_up(f"user{n}@example.org") for n in range(3)]
            await pipe.has_trouble("the broker is away")
            before = await pipe.outbox()

            proxy.refuse(False)
            messages = await pipe.taken(3)

            await pipe.has_trouble(None)
    assert [row.published_at for row in before] == [None] * 3
    assert {message.event.data.subject for message in messages} == {user.id for user in users}


async def test_deleting_an_account_never_waits_for_the_broker(
    accounts: Accounts, pipe: Pipe
) -> None:
    """No row is locked while a confirm is outstanding."""
    ada = await accounts.sign_up("ada@example.org")
    async with proxied(pipe.settings) as (proxy, settings), rounds(settings) as run_once:
        proxy.swallow_answers()
        running = asyncio.ensure_future(run_once())
        [created] = await pipe.taken(1)

        # The lock time-out is two seconds, so waiting for a row would raise.
        await accounts.delete(ada)

        meanwhile = await pipe.outbox(ada.id)
        assert not running.done()
        proxy.swallow_answers(False)
        await running
        await run_once()

    [deleted] = await pipe.taken(1)
    assert [row.published_at for row in meanwhile] == [None, None]
    assert created.event.data.subject == ada.id
    assert deleted.routing_key == UserDeleted.type


async def some_arrived(source: Source) -> bool:
    return await source.ready(QUEUE) > 0
