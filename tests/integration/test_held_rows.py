"""Test that a row or lock held by another session delays one user only."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID, uuid4

import pytest
from pamqp.commands import Basic
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.replica_of_users import USERS
from blog_service.settings import ConsumerSettings
from contracts.events import Beat, RevokedKey
from replica.inbox.consumer import Consumer
from replica.locks import lock
from replica.parked.redrive import redrive
from service_kit.database.engines import pooled
from tests.support.builders import NOON, a_state, a_tombstone, an_event
from tests.support.eventually import eventually
from tests.support.inbox import apply_events, consuming, fetch, has_applied, is_at, parked, replica
from tests.support.parked_messages import a_delivery, park_deliveries
from tests.support.source import LIVE, Source

OF_USER = "SELECT FROM users WHERE id = '{}' "


@pytest.fixture
def settings(consumer_settings: ConsumerSettings) -> ConsumerSettings:
    return consumer_settings.model_copy(update={"lock_timeout_ms": 300})


@pytest.fixture
async def impatient(settings: ConsumerSettings) -> AsyncIterator[AsyncEngine]:
    engine = pooled(settings)
    yield engine
    await engine.dispose()


@pytest.fixture
async def consumer(
    settings: ConsumerSettings,
    impatient: AsyncEngine,
    source: Source,  # noqa: ARG001 - its exchanges
) -> AsyncIterator[Consumer]:
    async with consuming(settings, impatient) as consumer:
        yield consumer


@asynccontextmanager
async def holding(engine: AsyncEngine, *statements: str) -> AsyncIterator[None]:
    async with engine.connect() as connection:
        await connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
        for statement in statements:
            await connection.execute(text(statement))
        yield
        await connection.rollback()
        await connection.execute(text("RESET idle_in_transaction_session_timeout"))


async def waiting(engine: AsyncEngine, messages: int) -> bool:
    [row] = await fetch(engine, "SELECT count(*) AS messages FROM waiting_messages")
    assert row.messages == messages, f"{row.messages} messages wait, not {messages}"
    return True


@pytest.mark.usefixtures("consumer")
@pytest.mark.parametrize("strength", ["FOR UPDATE", "FOR NO KEY UPDATE", "FOR SHARE"])
async def test_a_locked_row_delays_its_user_alone(
    blog_engine: AsyncEngine, source: Source, strength: str
) -> None:
    held = [uuid4() for _ in range(3)]
    await apply_events(blog_engine, *(a_state(user_id, 1) for user_id in held))
    hold = [OF_USER.format(user_id) + strength for user_id in held]

    async with holding(blog_engine, *hold):
        for user_id in held:
            await source.publish(an_event(a_state(user_id, 2)))
        others = [an_event(a_state()) for _ in range(200)]
        await source.publish(*others, an_event(a_state(held[0], 3)))
        await eventually(lambda: has_applied(blog_engine, len(held) + len(others)), within=5)
        await eventually(lambda: waiting(blog_engine, len(held)))
        meanwhile = await replica(blog_engine)
        unacknowledged = await source.ready()

    for user_id, version in zip(held, (3, 2, 2), strict=True):
        await eventually(partial(is_at, blog_engine, user_id, version), within=5)
    assert {meanwhile[user_id].version for user_id in held} == {1}
    assert unacknowledged == 0
    assert await parked(blog_engine) == []
    assert await waiting(blog_engine, 0)


@pytest.mark.usefixtures("consumer")
async def test_a_key_share_lock_delays_nobody(blog_engine: AsyncEngine, source: Source) -> None:
    state = a_state()
    await apply_events(blog_engine, state)
    async with holding(blog_engine, OF_USER.format(state.id) + "FOR KEY SHARE"):
        await source.publish(an_event(a_state(state.id, 2)))
        await eventually(lambda: is_at(blog_engine, state.id, 2), within=2)


@pytest.mark.usefixtures("consumer")
async def test_a_deletion_that_waits_is_not_lost(blog_engine: AsyncEngine, source: Source) -> None:
    """A waiting state goes with it, a later one is stale, and parked messages are erased."""
    user_id = uuid4()
    await apply_events(blog_engine, a_state(user_id, 1))
    unreadable = a_delivery(an_event(a_state(user_id, 2)), body=b"{")
    await park_deliveries(blog_engine, unreadable)

    async with holding(blog_engine, OF_USER.format(user_id) + "FOR UPDATE"):
        await source.publish(an_event(a_state(user_id, 3, email="gone@example.org")))
        await eventually(lambda: waiting(blog_engine, 1))
        await source.publish(an_event(a_tombstone(user_id, 4)))
        await eventually(lambda: _waits_to_be_deleted(blog_engine, user_id))
        bodies = await fetch(blog_engine, "SELECT body FROM waiting_messages")
        await source.publish(an_event(a_state(user_id, 3)), an_event(a_state()))
        await eventually(lambda: has_applied(blog_engine, 2))

    await eventually(lambda: is_at(blog_engine, user_id, 4), within=5)
    await eventually(lambda: waiting(blog_engine, 0))
    row = (await replica(blog_engine))[user_id]
    assert (row.status, row.email) == ("deleted", None)
    assert [row for row in bodies if b"gone@example.org" in row.body] == []
    assert [row.body for row in await parked(blog_engine)] == [None]


@pytest.mark.usefixtures("consumer")
async def test_a_users_lock_delays_their_deletion_alone(
    blog_engine: AsyncEngine, source: Source
) -> None:
    """Also if it is the lock that parking and deleting share."""
    user_id = uuid4()
    async with blog_engine.connect() as other:
        await lock(other, [user_id])
        await source.publish(an_event(a_tombstone(user_id, 2)), an_event(a_tombstone()))
        await source.publish_raw(b"{", a_delivery(an_event(a_state(user_id, 1))).properties)
        await source.publish(an_event(a_state()))
        await eventually(lambda: has_applied(blog_engine, 2), within=5)
        await eventually(lambda: waiting(blog_engine, 2))
        await other.rollback()

    await eventually(lambda: is_at(blog_engine, user_id, 2), within=5)
    await eventually(lambda: waiting(blog_engine, 0))
    assert [row for row in await parked(blog_engine) if row.body is not None] == []


@pytest.mark.usefixtures("consumer")
async def test_a_user_who_is_being_inserted_waits(blog_engine: AsyncEngine, source: Source) -> None:
    """An uncommitted provisional row is invisible but blocks all the same."""
    user_id = uuid4()
    insert = f"INSERT INTO users (id, version, status) VALUES ('{user_id}', 0, 'provisional')"
    async with holding(blog_engine, insert):
        await source.publish(an_event(a_state(user_id, 2)), an_event(a_state()))
        await eventually(lambda: has_applied(blog_engine, 1), within=5)
    await eventually(lambda: is_at(blog_engine, user_id, 2), within=5)


@pytest.mark.usefixtures("consumer")
@pytest.mark.parametrize(
    ("hold", "event"),
    [
        ("SELECT FROM heartbeats FOR UPDATE", lambda: an_event(Beat(number=2))),
        (
            "INSERT INTO revoked_keys (kid, revoked_at) VALUES ('held', now())",
            lambda: an_event(RevokedKey(kid="held", revoked_at=NOON)),
        ),
    ],
    ids=["heartbeats", "revoked_keys"],
)
async def test_heartbeats_and_keys_are_set_aside_too(
    blog_engine: AsyncEngine, source: Source, hold: str, event: Callable[[], object]
) -> None:
    await apply_events(blog_engine, Beat(number=1))

    async with holding(blog_engine, hold):
        await source.publish(event(), an_event(a_state()))  # type: ignore[arg-type]
        await eventually(lambda: has_applied(blog_engine, 1), within=5)
        await source.publish(an_event(Beat(number=3)), an_event(a_state()))
        await eventually(lambda: has_applied(blog_engine, 2), within=5)

    await eventually(lambda: waiting(blog_engine, 0))
    [row] = await fetch(blog_engine, "SELECT number, suspicion FROM heartbeats")
    assert row.number == 3
    assert row.suspicion == ("gap" if "revoked" in hold else None)


@pytest.mark.usefixtures("consumer")
async def test_a_replay_continues_past_a_locked_row(
    blog_engine: AsyncEngine, source: Source
) -> None:
    state = a_state()
    await apply_events(blog_engine, state)

    async with holding(blog_engine, OF_USER.format(state.id) + "FOR UPDATE"):
        await source.replay(
            an_event(a_state(state.id, 2)), *(an_event(a_state()) for _ in range(60))
        )
        await eventually(lambda: has_applied(blog_engine, 61), within=8)
        live = an_event(a_state())
        await source.publish(live)
        await eventually(lambda: has_applied(blog_engine, 62), within=2)

    await eventually(lambda: is_at(blog_engine, state.id, 2), within=5)


async def test_a_locked_table_sets_nothing_aside(
    settings: ConsumerSettings, impatient: AsyncEngine, blog_engine: AsyncEngine, source: Source
) -> None:
    async with consuming(settings, impatient):
        pass
    await source.publish(*(an_event(a_state()) for _ in range(20)))
    message = await source.channel.basic_get(LIVE)
    assert isinstance(message.delivery, Basic.GetOk)
    assert message.delivery.delivery_tag
    await source.channel.basic_nack(message.delivery.delivery_tag)

    async with consuming(settings, impatient):
        async with holding(blog_engine, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"):
            await source.publish(*(an_event(a_state()) for _ in range(20)))
            await eventually(lambda: _has_failed(blog_engine, 3))
            counted = await fetch(blog_engine, "SELECT * FROM attempts")
            await waiting(blog_engine, 0)
        await eventually(lambda: has_applied(blog_engine, 40), within=5)

    assert counted == []
    assert await parked(blog_engine) == []


async def test_an_operator_redrives_past_a_locked_row(
    impatient: AsyncEngine, blog_engine: AsyncEngine
) -> None:
    state = a_state()
    await apply_events(blog_engine, state)
    [parked_id] = await park_deliveries(blog_engine, a_delivery(an_event(a_state(state.id, 2))))
    async with holding(blog_engine, OF_USER.format(state.id) + "FOR UPDATE"):
        done = await redrive(USERS, impatient, parked_id)
    assert (done.outcome, done.failure and done.failure.reason) == ("parked", "row_held")
    assert len(await parked(blog_engine)) == 1


async def _waits_to_be_deleted(engine: AsyncEngine, user_id: UUID) -> bool:
    query = "SELECT deletes FROM waiting_messages WHERE user_id = :user_id"
    rows = await fetch(engine, query, user_id=user_id)
    assert [row.deletes for row in rows] == [True]
    return True


async def _has_failed(engine: AsyncEngine, times: int) -> bool:
    query = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    [row] = await fetch(engine, query)
    return bool(row.xact_rollback >= times)
