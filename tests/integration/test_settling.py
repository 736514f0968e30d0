"""Test what is settled together, what is read ahead, and what consumers requeue to each other."""

import pytest
from aiormq.channel import Channel
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.replica_of_users import USERS
from blog_service.settings import ConsumerSettings
from contracts.events import Beat
from contracts.sync.merge import Outcome
from replica.inbox.settle import DatabaseAway, ParkedInARow, Settler
from replica.inbox.subscription import Subscription
from tests.support.builders import a_state, an_event
from tests.support.inbox import accept_writes, fetch, parked, refuse_writes
from tests.support.parked_messages import a_delivery, rubbish
from tests.support.settings import having
from tests.support.source import Source


async def test_consumers_that_requeue_a_message_to_each_other_never_park_it(
    consumer_settings: ConsumerSettings, blog_engine: AsyncEngine
) -> None:
    """All consumers survived: an unavailable database does not count as a crash."""
    impatient = having(consumer_settings, database_patience_seconds=0.01, attempts_max=2)
    consumers = [Settler(USERS, impatient, blog_engine) for _ in range(2)]
    message = a_delivery(an_event(a_state()))._replace(redelivered=True)
    await refuse_writes(blog_engine, "42703")

    for number in range(8):
        with pytest.raises(DatabaseAway):
            await consumers[number % 2].settle([message])
    await accept_writes(blog_engine)
    outcomes = await consumers[0].settle([message])

    assert outcomes == [Outcome.APPLIED]
    assert await parked(blog_engine) == []


async def test_a_heartbeat_does_not_hide_that_nothing_can_be_read(
    consumer_settings: ConsumerSettings, blog_engine: AsyncEngine
) -> None:
    settler = Settler(USERS, consumer_settings, blog_engine)

    async def settle_garbage_and_heartbeats() -> None:
        for number in range(1, 12):
            await settler.settle([a_delivery(an_event(a_state()), body=b"{")])
            await settler.settle([a_delivery(an_event(Beat(number=number)))])

    with pytest.raises(ParkedInARow):
        await settle_garbage_and_heartbeats()

    assert len(await parked(blog_engine)) == consumer_settings.parked_in_a_row_max


async def test_a_source_of_any_length_is_parked_or_applied(
    consumer_settings: ConsumerSettings, blog_engine: AsyncEngine
) -> None:
    """An over-long header is the message's fault, not the database's."""
    settler = Settler(USERS, consumer_settings, blog_engine)
    message = a_delivery(an_event(Beat(number=1)))
    assert message.headers is not None
    message.headers["cloudEvents_source"] = "s" * 9_000
    outcomes = await settler.settle([message])
    assert outcomes == [Outcome.PARKED]


async def test_what_is_read_ahead_is_applied_like_what_is_read_in_its_turn(
    consumer_settings: ConsumerSettings, blog_engine: AsyncEngine
) -> None:
    settler = Settler(USERS, consumer_settings, blog_engine)
    states = [a_state() for _ in range(3)]
    batch = [a_delivery(an_event(state)) for state in states]
    read = [settler.read_ahead(batch[0]), None, settler.read_ahead(batch[2])]

    outcomes = await settler.settle(batch, read)

    assert outcomes == [Outcome.APPLIED] * 3
    rows = await fetch(blog_engine, "SELECT id, version FROM users")
    assert {(row.id, row.version) for row in rows} == {(each.id, each.version) for each in states}


async def test_what_may_crash_a_process_or_was_given_up_is_not_read_ahead(
    consumer_settings: ConsumerSettings, blog_engine: AsyncEngine
) -> None:
    """The attempt of a redelivered message is counted before anything looks into it."""
    settler = Settler(USERS, consumer_settings, blog_engine)
    event = an_event(a_state())
    message = a_delivery(event)

    assert settler.read_ahead(message) == event
    assert settler.read_ahead(message._replace(redelivered=True)) is None
    assert settler.read_ahead(message._replace(queue=USERS.queues.dead)) is None
    assert settler.read_ahead(rubbish()) is None


async def test_each_message_gets_what_was_read_of_it(source: Source) -> None:
    channel = source.channel
    assert isinstance(channel, Channel)
    first, second = an_event(a_state()), an_event(a_state())
    event_of = {1: first, 2: None, 3: second}
    subscription = Subscription(channel, [], lambda delivery: event_of[delivery.tag])
    for tag in event_of:
        subscription.receive(a_delivery(first)._replace(tag=tag))

    one = await subscription.next_batch(1)
    rest = await subscription.next_batch(5)

    assert subscription.read(one) == [first]
    assert subscription.read(rest) == [None, second]
    assert subscription.read(rest) == [None, None], "it is not kept"
