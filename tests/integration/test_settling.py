"""Test messages that consumers requeue to each other, and errors between heartbeats."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.replica_of_users import USERS
from blog_service.settings import ConsumerSettings
from contracts.events import Beat
from contracts.sync.merge import Outcome
from replica.inbox.settle import DatabaseAway, ParkedInARow, Settler
from tests.support.builders import a_state, an_event
from tests.support.inbox import accept_writes, parked, refuse_writes
from tests.support.parked_messages import a_delivery


async def test_consumers_that_requeue_a_message_to_each_other_never_park_it(
    consumer_settings: ConsumerSettings, blog_engine: AsyncEngine
) -> None:
    """All consumers survived: an unavailable database does not count as a crash."""
    impatient = consumer_settings.model_copy(
        update={"database_patience_seconds": 0.01, "attempts_max": 2}
    )
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
