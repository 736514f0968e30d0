"""Test parking: one row per message, erased with its user, never blocking the deletion."""

import asyncio
from uuid import UUID, uuid4

from pamqp.commands import Basic
from pamqp.common import FieldTable
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.replica_of_users import USERS
from contracts.events import Beat
from contracts.events.envelope import encode
from replica.inbox.apply import apply
from replica.inbox.parking import park
from service_kit.broker.delivery import Delivery
from tests.support.builders import a_state, a_tombstone, an_event
from tests.support.erasing import Content
from tests.support.eventually import eventually
from tests.support.inbox import Inbox, apply_events, execute, fetch, is_at, parked
from tests.support.locks import lock_waits
from tests.support.parked_messages import a_delivery, park_deliveries, rubbish


async def test_a_parked_body_is_erased_with_its_user(inbox: Inbox) -> None:
    """Also if only the body names the user."""
    unreadable = an_event(a_state(email="nul\0@example.org"))
    other = an_event(a_state(email="other\0@example.org"))
    user_id, state = unreadable.data.subject, a_state()
    assert user_id

    async with inbox.consuming():
        await inbox.source.publish(unreadable, other)
        await inbox.source.publish_raw(state.model_dump_json().encode())
        await inbox.has_parked(3)
        before, _, named = await parked(inbox.engine)
        await inbox.source.publish(*(an_event(a_tombstone(each)) for each in (user_id, state.id)))
        await eventually(lambda: is_at(inbox.engine, user_id, 2))
        await eventually(lambda: is_at(inbox.engine, state.id, 2))

    after, untouched, erased = await parked(inbox.engine)
    assert (named.user_id, after.properties) == (state.id, before.properties)
    assert None not in (before.body, named.body, untouched.body)
    assert (after.body, erased.body) == (None, None)


async def test_of_a_deleted_user_only_headers_are_parked(inbox: Inbox) -> None:
    user_id = uuid4()
    late = an_event(a_state(user_id, 1))

    async with inbox.consuming():
        await inbox.source.publish(an_event(a_tombstone(user_id, 2)))
        await eventually(lambda: is_at(inbox.engine, user_id, 2))
        await inbox.source.publish_raw(b"{", encode(late).properties)
        await inbox.has_parked(1)

    [row] = await parked(inbox.engine)
    assert (row.user_id, row.body) == (user_id, None)
    assert row.properties["headers"]["cloudEvents_subject"] == str(user_id)


async def test_parking_again_after_the_deletion_brings_nothing_back(inbox: Inbox) -> None:
    user_id = uuid4()
    unreadable = an_event(a_state(user_id, email="nul\0@example.org"))

    async with inbox.consuming():
        await inbox.source.publish(unreadable)
        await inbox.has_parked(1)
        await inbox.source.publish(an_event(a_tombstone(user_id, 2)))
        await eventually(lambda: is_at(inbox.engine, user_id, 2))
        await inbox.source.publish(unreadable, an_event(a_state()))
        await inbox.has_applied(2)

    [row] = await parked(inbox.engine)
    assert (row.body, row.attempts) == (None, 2)


async def test_deleting_waits_for_parking_of_the_same_user(blog_engine: AsyncEngine) -> None:
    user_id = uuid4()
    async with blog_engine.connect() as parking:
        await park(USERS, parking, _unreadable(user_id), "reason", "error")
        deleting = asyncio.create_task(Content(blog_engine).delete(user_id))
        await eventually(lambda: lock_waits(blog_engine, "advisory"))

        await parking.commit()
        await deleting

    [row] = await parked(blog_engine)
    assert row.body is None


async def test_parking_waits_for_the_deletion_of_the_same_user(blog_engine: AsyncEngine) -> None:
    user_id = uuid4()
    async with blog_engine.connect() as deleting:
        await apply(USERS, deleting, [an_event(a_tombstone(user_id))])
        parking = asyncio.create_task(park_deliveries(blog_engine, _unreadable(user_id)))
        await eventually(lambda: lock_waits(blog_engine, "advisory"))

        await deleting.commit()
        await parking

    [row] = await parked(blog_engine)
    assert row.body is None


async def test_other_users_are_not_delayed(blog_engine: AsyncEngine) -> None:
    async with blog_engine.connect() as parking:
        await park(USERS, parking, _unreadable(uuid4()), "reason", "error")
        await asyncio.wait_for(Content(blog_engine).delete(uuid4()), 1.5)
        await parking.commit()


async def test_no_race_leaves_a_body_of_a_deleted_user(blog_engine: AsyncEngine) -> None:
    users = [uuid4() for _ in range(300)]

    async def race(user_id: UUID, number: int) -> None:
        deleting = Content(blog_engine).delete(user_id)
        both = [park_deliveries(blog_engine, _unreadable(user_id)), deleting]
        await asyncio.gather(*(both if number % 2 else reversed(both)))

    for start in range(0, len(users), 5):  # ten connections
        some = enumerate(users[start : start + 5])
        await asyncio.gather(*(race(user_id, number) for number, user_id in some))

    rows = await parked(blog_engine)
    assert {row.user_id for row in rows} == set(users)
    assert [row for row in rows if row.body is not None] == []


async def test_several_deletions_in_opposite_orders_do_not_deadlock(
    blog_engine: AsyncEngine,
) -> None:
    """Two batches that delete the same users take the locks in the same order."""
    users = [uuid4() for _ in range(40)]
    for _ in range(20):
        await asyncio.gather(
            Content(blog_engine).delete(*users), Content(blog_engine).delete(*users[::-1])
        )

    assert len(await fetch(blog_engine, "SELECT 1 FROM users")) == len(users)


async def test_a_message_without_an_identifiable_user_expires(blog_engine: AsyncEngine) -> None:
    """No deletion would erase such a message, so it expires after thirty days."""
    of_user = _unreadable(uuid4())
    for delivery, days in [(rubbish(b"old"), 31), (rubbish(b"recent"), 29), (of_user, 99)]:
        [parked_id] = await park_deliveries(blog_engine, delivery)
        at = f"first_failed_at = now() - interval '{days} days'"
        await execute(blog_engine, f"UPDATE parked_messages SET {at} WHERE id = {parked_id}")

    await apply_events(blog_engine, Beat(number=1))

    assert [row.body for row in await parked(blog_engine)] == [b"recent", of_user.body]


async def test_body_routing_key_and_headers_make_another_message_but_not_the_brokers(
    blog_engine: AsyncEngine,
) -> None:
    message = rubbish()._replace(header=Basic.Properties(headers={"a": 1}))
    of_the_broker: FieldTable = {"a": 1, "x-delivery-count": 3, "x-death": [{"count": 1}]}
    for delivery, rows in [
        (message, 1),
        (message._replace(body=b"other"), 2),
        (message._replace(routing_key="user.created"), 3),
        (message._replace(header=Basic.Properties(headers={"b": 1})), 4),
        (message._replace(header=Basic.Properties(headers=of_the_broker)), 4),
    ]:
        await park_deliveries(blog_engine, delivery)
        assert len(await parked(blog_engine)) == rows, delivery
    [first, *_] = await parked(blog_engine)
    assert first.attempts == 2


def _unreadable(user_id: UUID) -> Delivery:
    return a_delivery(an_event(a_state(user_id)), body=b"{ someone@example.org")
