"""Test that a row or lock held by another session delays one user only."""

from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID, uuid4

import pytest
from pamqp.commands import Basic
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.replica_of_users import USERS
from contracts.events import Beat, Data, RevokedKey
from replica.inbox.consumer import Consumer
from replica.locks import lock
from replica.parked.redrive import redrive
from service_kit.database.engines import pooled
from tests.support.builders import NOON, a_state, a_tombstone, an_event
from tests.support.database_sessions import has_rolled_back, holding
from tests.support.eventually import eventually
from tests.support.inbox import Inbox, apply_events, fetch, is_at, parked, replica
from tests.support.parked_messages import a_delivery, park_deliveries
from tests.support.settings import having
from tests.support.source import LIVE

OF_USER = "SELECT FROM users WHERE id = '{}' "


@pytest.fixture
async def inbox(inbox: Inbox) -> AsyncIterator[Inbox]:
    """The same with a consumer that does not wait long for locks."""
    settings = having(inbox.settings, lock_timeout_ms=300)
    engine = pooled(settings)
    yield Inbox(settings, engine, inbox.source)
    await engine.dispose()


@pytest.fixture
async def consumer(inbox: Inbox) -> AsyncIterator[Consumer]:
    async with inbox.consuming() as consumer:
        yield consumer


async def waiting(engine: AsyncEngine, messages: int) -> bool:
    [row] = await fetch(engine, "SELECT count(*) AS messages FROM waiting_messages")
    assert row.messages == messages, f"{row.messages} messages wait, not {messages}"
    return True


@pytest.mark.usefixtures("consumer")
@pytest.mark.parametrize("strength", ["FOR UPDATE", "FOR NO KEY UPDATE", "FOR SHARE"])
async def test_a_locked_row_delays_its_user_alone(inbox: Inbox, strength: str) -> None:
    held = [uuid4() for _ in range(3)]
    await apply_events(inbox.engine, *(a_state(user_id, 1) for user_id in held))
    hold = [OF_USER.format(user_id) + strength for user_id in held]

    async with holding(inbox.engine, *hold):
        for user_id in held:
            await inbox.source.publish(an_event(a_state(user_id, 2)))
        others = [an_event(a_state()) for _ in range(200)]
        await inbox.source.publish(*others, an_event(a_state(held[0], 3)))
        await inbox.has_applied(len(held) + len(others), within=5)
        await eventually(lambda: waiting(inbox.engine, len(held)))
        meanwhile = await replica(inbox.engine)
        unacknowledged = await inbox.source.ready()

    for user_id, version in zip(held, (3, 2, 2), strict=True):
        await eventually(partial(is_at, inbox.engine, user_id, version), within=5)
    assert {meanwhile[user_id].version for user_id in held} == {1}
    assert unacknowledged == 0
    assert await parked(inbox.engine) == []
    assert await waiting(inbox.engine, 0)


@pytest.mark.usefixtures("consumer")
async def test_a_key_share_lock_delays_nobody(inbox: Inbox) -> None:
    state = a_state()
    await apply_events(inbox.engine, state)
    async with holding(inbox.engine, OF_USER.format(state.id) + "FOR KEY SHARE"):
        await inbox.source.publish(an_event(a_state(state.id, 2)))
        await eventually(lambda: is_at(inbox.engine, state.id, 2), within=2)


@pytest.mark.usefixtures("consumer")
async def test_a_deletion_that_waits_is_not_lost(inbox: Inbox) -> None:
    """A waiting state goes with it, a later one is stale, and parked messages are erased."""
    user_id = uuid4()
    await apply_events(inbox.engine, a_state(user_id, 1))
    unreadable = a_delivery(an_event(a_state(user_id, 2)), body=b"{")
    await park_deliveries(inbox.engine, unreadable)

    async with holding(inbox.engine, OF_USER.format(user_id) + "FOR UPDATE"):
        await inbox.source.publish(an_event(a_state(user_id, 3, email="gone@example.org")))
        await eventually(lambda: waiting(inbox.engine, 1))
        await inbox.source.publish(an_event(a_tombstone(user_id, 4)))
        await eventually(lambda: _waits_to_be_deleted(inbox.engine, user_id))
        bodies = await fetch(inbox.engine, "SELECT body FROM waiting_messages")
        await inbox.source.publish(an_event(a_state(user_id, 3)), an_event(a_state()))
        await inbox.has_applied(2)

    await eventually(lambda: is_at(inbox.engine, user_id, 4), within=5)
    await eventually(lambda: waiting(inbox.engine, 0))
    row = (await replica(inbox.engine))[user_id]
    assert (row.status, row.email) == ("deleted", None)
    assert [row for row in bodies if b"gone@example.org" in row.body] == []
    assert [row.body for row in await parked(inbox.engine)] == [None]


@pytest.mark.usefixtures("consumer")
async def test_a_users_lock_delays_their_deletion_alone(inbox: Inbox) -> None:
    """Also if it is the lock that parking and deleting share."""
    user_id = uuid4()
    async with inbox.engine.connect() as other:
        await lock(other, [user_id])
        await inbox.source.publish(an_event(a_tombstone(user_id, 2)), an_event(a_tombstone()))
        await inbox.source.publish_raw(b"{", a_delivery(an_event(a_state(user_id, 1))).properties)
        await inbox.source.publish(an_event(a_state()))
        await inbox.has_applied(2, within=5)
        await eventually(lambda: waiting(inbox.engine, 2))
        await other.rollback()

    await eventually(lambda: is_at(inbox.engine, user_id, 2), within=5)
    await eventually(lambda: waiting(inbox.engine, 0))
    assert [row for row in await parked(inbox.engine) if row.body is not None] == []


@pytest.mark.usefixtures("consumer")
async def test_a_user_who_is_being_inserted_waits(inbox: Inbox) -> None:
    """An uncommitted provisional row is invisible but blocks all the same."""
    user_id = uuid4()
    insert = f"INSERT INTO users (id, version, status) VALUES ('{user_id}', 0, 'provisional')"
    async with holding(inbox.engine, insert):
        await inbox.source.publish(an_event(a_state(user_id, 2)), an_event(a_state()))
        await inbox.has_applied(1, within=5)
    await eventually(lambda: is_at(inbox.engine, user_id, 2), within=5)


@pytest.mark.usefixtures("consumer")
@pytest.mark.parametrize(
    ("hold", "data"),
    [
        ("SELECT FROM heartbeats FOR UPDATE", Beat(number=2)),
        ("INSERT INTO revoked_keys VALUES ('x', now())", RevokedKey(kid="x", revoked_at=NOON)),
    ],
    ids=["heartbeats", "revoked_keys"],
)
async def test_heartbeats_and_keys_are_set_aside_too(inbox: Inbox, hold: str, data: Data) -> None:
    await apply_events(inbox.engine, Beat(number=1))

    async with holding(inbox.engine, hold):
        await inbox.source.publish(an_event(data), an_event(a_state()))
        await inbox.has_applied(1, within=5)
        await inbox.source.publish(an_event(Beat(number=3)), an_event(a_state()))
        await inbox.has_applied(2, within=5)

    await eventually(lambda: waiting(inbox.engine, 0))
    [row] = await fetch(inbox.engine, "SELECT number, suspicion FROM heartbeats")
    assert row.number == 3
    assert row.suspicion == ("gap" if "revoked" in hold else None)


@pytest.mark.usefixtures("consumer")
async def test_a_replay_continues_past_a_locked_row(inbox: Inbox) -> None:
    state = a_state()
    await apply_events(inbox.engine, state)

    async with holding(inbox.engine, OF_USER.format(state.id) + "FOR UPDATE"):
        others = [an_event(a_state()) for _ in range(60)]
        await inbox.source.replay(an_event(a_state(state.id, 2)), *others)
        await inbox.has_applied(61, within=8)
        await inbox.source.publish(an_event(a_state()))
        await inbox.has_applied(62, within=2)

    await eventually(lambda: is_at(inbox.engine, state.id, 2), within=5)


async def test_a_locked_table_sets_nothing_aside(inbox: Inbox) -> None:
    await inbox.declare()
    await inbox.source.publish(*(an_event(a_state()) for _ in range(20)))
    message = await inbox.source.channel.basic_get(LIVE)
    assert isinstance(message.delivery, Basic.GetOk)
    assert message.delivery.delivery_tag
    await inbox.source.channel.basic_nack(message.delivery.delivery_tag)

    async with inbox.consuming():
        async with holding(inbox.engine, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"):
            # A try that began before the lock is counted.
            before = await fetch(inbox.engine, "SELECT * FROM attempts")
            await inbox.source.publish(*(an_event(a_state()) for _ in range(20)))
            await eventually(lambda: has_rolled_back(inbox.engine, 3))
            counted = await fetch(inbox.engine, "SELECT * FROM attempts")
            await waiting(inbox.engine, 0)
        await inbox.has_applied(40, within=5)

    assert [row for row in counted if row not in before] == []
    assert await parked(inbox.engine) == []


async def test_an_operator_redrives_past_a_locked_row(inbox: Inbox) -> None:
    state = a_state()
    await apply_events(inbox.engine, state)
    [parked_id] = await park_deliveries(inbox.engine, a_delivery(an_event(a_state(state.id, 2))))
    async with holding(inbox.engine, OF_USER.format(state.id) + "FOR UPDATE"):
        done = await redrive(USERS, inbox.engine, parked_id)
    assert (done.outcome, done.failure and done.failure.reason) == ("parked", "row_held")
    assert len(await parked(inbox.engine)) == 1


async def _waits_to_be_deleted(engine: AsyncEngine, user_id: UUID) -> bool:
    query = "SELECT deletes FROM waiting_messages WHERE user_id = :user_id"
    rows = await fetch(engine, query, user_id=user_id)
    assert [row.deletes for row in rows] == [True]
    return True
