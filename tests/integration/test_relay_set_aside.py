"""Events that no queue accepts: each type is set aside, and everything else is published."""

import asyncio
import json

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.events import Heartbeat, UserDeleted
from contracts.events.names import EXCHANGE
from tests.support.accounts import Accounts
from tests.support.builders import a_state
from tests.support.eventually import eventually
from tests.support.inbox import fetch
from tests.support.relaying import QUEUE, Carried, Pipe, proxied, published, rounds, trouble

MANY = 700


async def test_a_returned_event_delays_no_other_event(pipe: Pipe) -> None:
    """It is set aside, listed with its type, and published when a queue accepts its type."""
    await pipe.insert("session.ended")
    async with pipe.relaying():
        ada = a_state()
        await pipe.record(ada)
        [message] = await pipe.taken(1, within=5)
        assert message.event.data.subject == ada.id

        await eventually(lambda: unpublished(pipe.engine, 1))
        shown = await pipe.figures()
        assert [(each.type, each.events) for each in shown.set_aside] == [("session.ended", 1)]
        assert shown.pipe.startswith("behind: events wait for a queue: session.ended: 1 since ")
        assert shown.trouble is None

        await pipe.source.channel.queue_bind(QUEUE, EXCHANGE, "session.*")
        await eventually(lambda: nothing_waits(pipe.engine))
        assert not (await pipe.figures()).set_aside


async def test_later_events_of_its_user_wait_behind_it(pipe: Pipe) -> None:
    """Their order stays, also after a restart of the relay; events of other users are published."""
    ada, bob = a_state(version=1), a_state()
    await pipe.insert("account.merged", ada.id)
    await pipe.record(a_state(ada.id, 2), a_state(ada.id, 3))
    async with pipe.relaying():
        await pipe.record(bob)
        [message] = await pipe.taken(1)
        assert message.event.data.subject == bob.id
        await eventually(lambda: unpublished(pipe.engine, 3))
    async with pipe.relaying():
        await pipe.record(a_state(ada.id, 4), a_state(bob.id, 2))
        [message] = await pipe.taken(1)
        assert message.event.data.subject == bob.id
        await eventually(lambda: waits(pipe.engine, 4))
        shown = await pipe.figures()
        assert (len(shown.set_aside), shown.events_behind) == (1, 3)

        await pipe.source.channel.queue_bind(QUEUE, EXCHANGE, "account.*")
        messages = await pipe.taken(4)

        await eventually(lambda: nothing_waits(pipe.engine))
    assert [message.headers["cloudEvents_subjectversion"][-1] for message in messages] == [*"1234"]


async def test_user_events_are_published_without_a_binding_of_heartbeats(pipe: Pipe) -> None:
    """The heartbeats are published later, with no gap in their numbers."""
    await pipe.source.channel.queue_unbind(QUEUE, EXCHANGE, Heartbeat.type)
    async with pipe.relaying(heartbeat_seconds=0.2):
        await eventually(lambda: waits(pipe.engine, 3))
        ada = a_state()
        await pipe.record(ada)
        [message] = await pipe.taken(1, within=5)
        assert message.event.data.subject == ada.id
        [shown] = (await pipe.figures()).set_aside
        assert shown.type == "sync.heartbeat"

        await pipe.source.channel.queue_bind(QUEUE, EXCHANGE, Heartbeat.type)
        await eventually(lambda: nothing_waits(pipe.engine))

    beats = [Carried(each).event for each in await pipe.source.take_all(QUEUE)]
    numbers = [json.loads(beat.data.model_dump_json())["number"] for beat in beats]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 4


async def test_a_deletion_waits_for_no_event_of_its_user(accounts: Accounts, pipe: Pipe) -> None:
    """The set-aside events are erased, so nothing precedes the tombstone any more."""
    ada = await accounts.sign_up("ada@example.org")
    async with pipe.relaying():
        await pipe.taken(1)
        await pipe.insert("account.merged", ada.id)
        await eventually(lambda: waits(pipe.engine, 1))

        await accounts.delete(ada)

        [message] = await pipe.taken(1, within=5)
        assert message.routing_key == UserDeleted.type
        await eventually(lambda: nothing_waits(pipe.engine))


@pytest.mark.slow
async def test_an_event_that_was_erased_while_it_was_returned_is_not_set_aside(
    accounts: Accounts, unbound: Pipe
) -> None:
    """The relay would try its type with it, and send what no consumer can read."""
    ada = await accounts.sign_up("ada@example.org")
    async with proxied(unbound.settings) as (proxy, settings), rounds(settings) as run_once:
        proxy.swallow_answers()
        before = proxy.forwarded
        running = asyncio.ensure_future(run_once())
        await eventually(lambda: proxy.forwarded > before)
        await accounts.delete(ada)
        proxy.swallow_answers(False)
        await running

    await unbound.bind()
    async with unbound.relaying():
        await eventually(unbound.all_published)

    assert [message.routing_key for message in await unbound.rest()] == [UserDeleted.type]


@pytest.mark.slow
async def test_thousands_of_set_aside_events_are_cheap_and_released_at_once(pipe: Pipe) -> None:
    """Only one of thousands is retried at a time, also by the next relay."""
    await pipe.execute(
        "INSERT INTO outbox_events (type, user_id, version, payload)"
        f" SELECT 'account.merged', gen_random_uuid(), 1, '{{}}' FROM generate_series(1, {MANY})"
    )
    async with pipe.relaying():
        await eventually(lambda: waits(pipe.engine, MANY))
    before = published("returned")
    async with pipe.relaying(retry_seconds_max=0.1):
        await pipe.record(*(a_state() for _ in range(100)))
        await pipe.taken(100, within=5)
        await eventually(lambda: published("returned") >= before + 3)
        assert published("returned") <= before + 100  # one every tenth of a second

        await pipe.source.channel.queue_bind(QUEUE, EXCHANGE, "account.*")
        await pipe.taken(MANY)
        await eventually(lambda: nothing_waits(pipe.engine))


async def test_deleting_the_blocking_event_by_hand_releases_the_rest(pipe: Pipe) -> None:
    """An operator deletes the event that blocked the others."""
    ada = a_state()
    await pipe.insert("account.merged", ada.id)
    await pipe.record(a_state(ada.id, 2))
    async with pipe.relaying():
        await eventually(lambda: waits(pipe.engine, 2))

        await pipe.execute("DELETE FROM outbox_events WHERE type = 'account.merged'")

        [message] = await pipe.taken(1)
        assert message.event.data.subject == ada.id


@pytest.mark.parametrize(
    ("kind", "payload"),
    [("user.updated", "to_json(repeat('x', 2000000))"), ("user." + "x" * 300, "'{}'")],
    ids=["too large", "type too long"],
)
async def test_an_unsendable_event_delays_no_other(pipe: Pipe, kind: str, payload: str) -> None:
    """Other users and other events of its type are published; the order of its user stays."""
    ada = a_state()
    await pipe.insert(kind, ada.id, payload)
    await pipe.record(a_state(ada.id, 2))
    async with pipe.relaying():
        bob = a_state()
        await pipe.record(bob)
        [message] = await pipe.taken(1, within=5)
        assert message.event.data.subject == bob.id
        await eventually(lambda: waits(pipe.engine, 2))
        await pipe.record(a_state(ada.id, 3), a_state(bob.id, 2))
        [message] = await pipe.taken(1, within=5)
        assert message.event.data.subject == bob.id
        [shown] = (await pipe.figures()).set_aside
        assert shown.reason == "too large for the broker"
        assert await trouble(pipe.engine) is None


async def waits(engine: AsyncEngine, events: int) -> bool:
    [row] = await fetch(engine, "SELECT count(*) FROM outbox_events WHERE set_aside > 0")
    return int(row[0]) >= events


async def unpublished(engine: AsyncEngine, events: int) -> bool:
    """Return whether exactly that many events are unpublished, all of them set aside."""
    rows = await fetch(engine, "SELECT set_aside FROM outbox_events WHERE published_at IS NULL")
    return [row.set_aside > 0 for row in rows] == [True] * events


async def nothing_waits(engine: AsyncEngine) -> bool:
    return not await fetch(engine, "SELECT 1 FROM outbox_events WHERE published_at IS NULL")
