"""Urgent events on the broker: a copy in a queue of its own, which the consumer reads first."""

from uuid import uuid4

from contracts.events import Data, Event, UserDeleted, UserUpdated
from contracts.events.envelope import StoredEvent, encode_stored
from contracts.events.names import EXCHANGE, URGENT_BINDING
from service_kit.broker.queue_depths import has_queue
from tests.support.builders import NOON, SOURCE, a_state, a_tombstone, an_event
from tests.support.eventually import eventually
from tests.support.inbox import Inbox, fetch, is_at
from tests.support.relaying import QUEUE, Carried, Pipe
from tests.support.source import LIVE, URGENT, Source

BACKLOG = 2_000


async def test_an_urgent_event_is_in_both_queues(pipe: Pipe) -> None:
    """One publication; a queue that is not bound for copies gets the event as before."""
    await pipe.source.channel.queue_declare("urgent", durable=True)
    await pipe.source.channel.queue_bind("urgent", EXCHANGE, URGENT_BINDING)
    ada, bob = a_state(status="disabled"), a_state()
    await pipe.record(ada, bob)

    await pipe.drained()

    copies = [Carried(message) for message in await pipe.source.take_all("urgent")]
    messages = await pipe.rest()
    assert [copy.event.data for copy in copies] == [ada]
    assert {message.event.data.subject for message in messages} == {ada.id, bob.id}
    assert len(messages) == 2
    assert copies[0].routing_key == UserUpdated.type
    assert all("BCC" not in message.headers for message in (*copies, *messages))


async def test_a_source_publishes_to_consumers_without_a_queue_for_copies(pipe: Pipe) -> None:
    """A new source works with older consumers, and no event is returned."""
    await pipe.record(a_state(status="disabled"))

    await pipe.drained()

    assert await pipe.source.ready(QUEUE) == 1
    assert await pipe.all_published()


async def test_an_urgent_event_overtakes_the_backlog_of_a_consumer(inbox: Inbox) -> None:
    """It is applied while thousands of events wait, and its first copy changes nothing later."""
    await inbox.declare()
    ada = a_state(version=1)
    await inbox.source.publish(an_event(ada))
    await inbox.source.publish(*(an_event(a_state()) for _ in range(BACKLOG)))
    await urgent(inbox.source, a_tombstone(ada.id, 2))

    async with inbox.consuming(batch_size=1, prefetch=10):
        await eventually(lambda: is_at(inbox.engine, ada.id, 2))
        waiting = await inbox.source.ready(LIVE)
        await inbox.source.channel.queue_purge(LIVE)

    assert waiting > BACKLOG / 4
    assert await inbox.source.ready(URGENT) == 0


async def test_without_its_copy_an_urgent_event_comes_by_the_live_queue(inbox: Inbox) -> None:
    """The queue of copies may be purged or deleted; the consumer declares it again."""
    ada, bob = a_tombstone(version=2), a_tombstone(version=2)
    await inbox.declare()
    await urgent(inbox.source, ada)
    await inbox.source.channel.queue_purge(URGENT)
    async with inbox.consuming():
        await eventually(lambda: is_at(inbox.engine, ada.id, 2))
        await inbox.source.channel.queue_delete(URGENT)
        await urgent(inbox.source, bob)
        await eventually(lambda: is_at(inbox.engine, bob.id, 2))
        await eventually(lambda: has_queue(inbox.source.connection, URGENT))

    suspicions = await fetch(inbox.engine, "SELECT 1 FROM heartbeats WHERE suspicion IS NOT NULL")
    assert not suspicions


async def urgent(source: Source, data: Data) -> None:
    """Publish an urgent event as the relay does."""
    event: Event = an_event(data)
    stored = StoredEvent(
        event_id=uuid4(),
        type=event.type,
        occurred_at=NOON,
        payload=None if event.type == UserDeleted.type else event.data.model_dump_json(),
        user_id=event.data.subject,
        version=event.data.subject_version,
        is_urgent=True,
    )
    message = encode_stored(stored, source=SOURCE)
    await source.publish_raw(message.body, message.properties, routing_key=event.type)
