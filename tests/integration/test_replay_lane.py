"""Replays have a lane of their own: they are applied like live events, and never delay them."""

from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.settings import ConsumerSettings
from contracts.events import Event
from contracts.events.names import REPLAY_EXCHANGE
from replica.inbox import consumer as consumer_module
from replica.inbox.consumer import Consumer
from tests.support.builders import a_state, a_tombstone, an_event
from tests.support.database_sessions import holding
from tests.support.eventually import eventually
from tests.support.inbox import (
    Inbox,
    accept_writes,
    applied,
    consuming,
    fetch,
    has_applied,
    is_at,
    is_consuming,
    parked,
    refuse_writes,
    replica,
)
from tests.support.locks import lock_waits
from tests.support.source import LIVE, REPLAY, Source, source_on


async def test_replays_are_applied_like_events_but_do_not_count_as_latency(inbox: Inbox) -> None:
    known, deleted, missed = a_state(version=5), a_tombstone(version=9), a_state(version=3)
    before = _latencies()

    async with inbox.consuming():
        await inbox.source.publish(an_event(known), an_event(deleted))
        await inbox.has_applied(2)
        live = _latencies()
        replayed = (a_state(known.id, 4), a_state(deleted.id, 8), missed)
        await inbox.source.replay(*map(an_event, replayed))
        await inbox.has_applied(3)

    versions = {row.id: (row.status, row.version) for row in (await replica(inbox.engine)).values()}
    expected = [("active", 5), ("deleted", 9), ("active", 3)]
    assert live == before + 2
    assert _latencies() == live
    assert versions == dict(zip((known.id, deleted.id, missed.id), expected, strict=True))
    assert await _left(inbox.source) == 0


async def test_a_backlog_of_replays_is_applied_in_small_batches(inbox: Inbox) -> None:
    await inbox.declare()
    await inbox.source.replay(*(an_event(a_state()) for _ in range(1_000)))
    async with inbox.consuming():
        await inbox.has_applied(1_000)
    batches = await fetch(inbox.engine, "SELECT count(*) AS users FROM users GROUP BY applied_at")
    assert max(row.users for row in batches) == inbox.settings.replay_batch_size
    assert len(batches) <= 100
    assert await _left(inbox.source) == 0


async def test_a_blocked_replay_delays_no_live_event(inbox: Inbox) -> None:
    user = a_state(version=1)
    async with inbox.consuming():
        await inbox.source.publish(an_event(user))
        await inbox.has_applied(1)
        async with holding(inbox.engine, f"SELECT FROM users WHERE id = '{user.id}' FOR UPDATE"):
            await inbox.source.replay(an_event(a_state(user.id, 2)))
            await eventually(lambda: lock_waits(inbox.engine))
            for number in range(1, 6):
                await inbox.source.publish(an_event(a_state()))
                await inbox.has_applied(1 + number)
        await eventually(lambda: is_at(inbox.engine, user.id, 2))


async def test_replays_wait_while_live_events_are_applied(inbox: Inbox) -> None:
    user, replayed = a_state(version=1), a_state()
    async with inbox.consuming():
        await inbox.source.publish(an_event(user))
        await inbox.has_applied(1)
        lock = f"SELECT FROM users WHERE id = '{user.id}' FOR UPDATE"
        async with holding(inbox.engine, lock) as connection:
            await inbox.source.publish(an_event(a_state(user.id, 2)))
            await eventually(lambda: lock_waits(inbox.engine))
            await inbox.source.replay(an_event(replayed))
            await inbox.source.has_ready(0, REPLAY)
            released_at = await connection.scalar(text("SELECT clock_timestamp()"))
        await inbox.has_applied(2)

    rows = await replica(inbox.engine)
    assert rows[user.id].version == 2
    assert rows[user.id].applied_at < released_at < rows[replayed.id].applied_at


async def test_a_faulty_replay_is_parked(inbox: Inbox) -> None:
    good = [an_event(a_state()) for _ in range(30)]
    await inbox.declare()
    await inbox.source.replay(*good[:15])
    await inbox.source.publish_raw(b"garbage", exchange=REPLAY_EXCHANGE, routing_key="blog")
    await inbox.source.replay(*good[15:])

    async with inbox.consuming():
        await inbox.has_applied(len(good))

    [row] = await parked(inbox.engine)
    assert (row.exchange, row.routing_key) == (REPLAY_EXCHANGE, "blog")
    assert (row.reason, row.body) == ("not_a_cloud_event", b"garbage")
    assert await _left(inbox.source) == 0


async def test_each_lane_counts_messages_parked_in_a_row(inbox: Inbox) -> None:
    almost = inbox.settings.parked_in_a_row_max - 1
    async with inbox.consuming() as consumer:
        to_replays: dict[str, Any] = {"exchange": REPLAY_EXCHANGE, "routing_key": "blog"}
        for number in range(almost):
            await inbox.source.publish_raw(b"live %d" % number)
            await inbox.source.publish_raw(b"replay %d" % number, **to_replays)
        await inbox.has_parked(2 * almost)
        went_on = await is_consuming(consumer)
        await inbox.source.publish_raw(b"one more", **to_replays)
        await eventually(lambda: _has_stopped(consumer))
        await inbox.source.publish(an_event(a_state()))

    assert went_on
    assert len(await parked(inbox.engine)) == 2 * almost + 1
    assert await applied(inbox.engine) == 0
    assert await inbox.source.ready() == 1


async def test_a_database_lost_during_a_replay_requeues_both_lanes(inbox: Inbox) -> None:
    """The replay's error is handled like a live one; nothing is parked or lost."""
    impatient = {"database_patience_seconds": 0.05, "retry_seconds_max": 0.2}
    event = an_event(a_state())
    await refuse_writes(inbox.engine, "53100", event.data.subject)

    async with inbox.consuming(**impatient) as consumer:
        await inbox.source.replay(event)
        await inbox.source.publish(an_event(a_state()))
        await eventually(lambda: _has_stopped(consumer), every=0.005)
        await accept_writes(inbox.engine)
        await inbox.has_applied(2)

    assert await parked(inbox.engine) == []
    assert await _left(inbox.source) == 0


async def test_live_events_do_not_wait_for_a_source_that_can_replay(
    consumer_settings: ConsumerSettings,
    blog_engine: AsyncEngine,
    amqp_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The consumer works with a relay too old for replays; a newer one finds the queue bound."""
    monkeypatch.setattr(consumer_module, "REPLAY_EXCHANGE_EVERY_SECONDS", 0.1)
    async with (
        source_on(amqp_url, replays=False) as old,
        consuming(consumer_settings, blog_engine) as consumer,
    ):
        await old.publish(an_event(a_state()))
        await eventually(lambda: has_applied(blog_engine, 1))
        async with source_on(amqp_url) as new:
            await eventually(lambda: _replayed(new, an_event(a_state())))
            await eventually(lambda: has_applied(blog_engine, 2))

        assert await is_consuming(consumer)


def _latencies() -> float:
    return REGISTRY.get_sample_value("usersync_end_to_end_latency_seconds_count") or 0


async def _left(source: Source) -> int:
    return await source.ready(LIVE) + await source.ready(REPLAY)


async def _has_stopped(consumer: Consumer) -> bool:
    return not await is_consuming(consumer)


async def _replayed(source: Source, event: Event) -> bool:
    """Replay ``event``; raises AssertionError while no queue is bound."""
    await source.replay(event)
    return True
