"""Test that heartbeat numbers reveal lost messages, and a missing queue its own loss."""

import asyncio
import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from blog_service.replica_of_users import USERS
from contracts.events import Beat, Heartbeat
from contracts.sync.merge import Outcome
from replica.inbox import heartbeat_numbers
from replica.inbox.apply import apply
from replica.inbox.consumer import Consumer
from replica.inbox.heartbeat_numbers import SuspicionKind
from replica.inbox.heartbeats import clear_suspicion, has_applied, note_queue_lost, suspicion
from replica.inbox.topology import depths
from tests.support.builders import NOON, SOURCE, a_state, an_event
from tests.support.database_sessions import committed, holding, reading
from tests.support.eventually import eventually
from tests.support.inbox import Inbox, execute, fetch, is_consuming
from tests.support.locks import lock_waits
from tests.support.log_ids import assert_has_ids
from tests.support.source import LIVE

GAP, BACKWARDS, QUEUE_LOST = SuspicionKind
APPLIED, STALE = Outcome.APPLIED, Outcome.STALE

Mark = tuple[int, int]
"""A heartbeat's number, and the minutes past noon at which it was recorded."""


def a_heartbeat(number: int, minutes: int, source: str = SOURCE) -> Heartbeat:
    return Heartbeat(
        id=uuid4(), source=source, time=NOON + timedelta(minutes=minutes), data=Beat(number=number)
    )


async def _apply(engine: AsyncEngine, *heartbeats: Heartbeat) -> list[Outcome]:
    async with engine.begin() as connection:
        return await apply(USERS, connection, heartbeats)


async def _kind(engine: AsyncEngine) -> SuspicionKind | None:
    found = await reading(engine, suspicion)
    return None if found is None else found.kind


async def _now(engine: AsyncEngine) -> datetime:
    [row] = await fetch(engine, "SELECT clock_timestamp() AS now")
    now: datetime = row.now
    return now


async def _row(engine: AsyncEngine) -> Row[Any]:
    [row] = await fetch(engine, "SELECT * FROM heartbeats")
    return row


CASES: dict[str, tuple[Sequence[Mark], Sequence[Outcome], SuspicionKind | None, Mark]] = {
    "the first": ([(1, 0)], [APPLIED], None, (1, 0)),
    "the first, late": ([(4_711, 0)], [APPLIED], None, (4_711, 0)),
    "in a row": ([(7, 0), (8, 1), (9, 2)], [APPLIED] * 3, None, (9, 2)),
    "in a row, by a clock set back": ([(7, 5), (8, 1)], [APPLIED] * 2, None, (8, 1)),
    "a duplicate": ([(7, 0), (7, 0)], [APPLIED, STALE], None, (7, 0)),
    "a row again": (
        [(7, 0), (8, 1), (7, 0), (8, 1), (9, 2)],
        [APPLIED, APPLIED, STALE, STALE, APPLIED],
        None,
        (9, 2),
    ),
    "a gap": ([(7, 0), (9, 2)], [APPLIED] * 2, GAP, (9, 2)),
    "a gap, then in a row": ([(7, 0), (9, 2), (10, 3)], [APPLIED] * 3, GAP, (10, 3)),
    "a gap by a clock set back": ([(7, 5), (9, 2)], [APPLIED] * 2, GAP, (9, 2)),
    "the missing one after all": ([(7, 0), (9, 2), (8, 1)], [APPLIED, APPLIED, STALE], GAP, (9, 2)),
    "backwards": ([(90, 0), (71, 5)], [APPLIED] * 2, BACKWARDS, (71, 5)),
    "backwards, then in a row": ([(90, 0), (71, 5), (72, 6)], [APPLIED] * 3, BACKWARDS, (72, 6)),
    "the same number, later": ([(90, 0), (90, 5)], [APPLIED] * 2, BACKWARDS, (90, 5)),
    "the last one wins": ([(90, 0), (71, 5), (80, 6)], [APPLIED] * 3, GAP, (80, 6)),
}


async def test_heartbeat_numbers_reveal_lost_messages(blog_engine: AsyncEngine) -> None:
    """A batch gives the same result as single heartbeats."""
    for (name, case), in_one_batch in itertools.product(CASES.items(), (True, False)):
        marks, outcomes, kind, last = case
        await execute(blog_engine, "DELETE FROM heartbeats")
        heartbeats = [a_heartbeat(*mark) for mark in marks]
        batches = [heartbeats] if in_one_batch else [[heartbeat] for heartbeat in heartbeats]
        began = await _now(blog_engine)

        found = [outcome for batch in batches for outcome in await _apply(blog_engine, *batch)]

        suspected, row = await reading(blog_engine, suspicion), await _row(blog_engine)
        assert found == list(outcomes), name
        assert row.number == last[0], name
        assert row.recorded_at == NOON + timedelta(minutes=last[1]), name
        assert (suspected and suspected.kind) == kind, name
        if suspected is not None:
            assert began <= suspected.since <= await _now(blog_engine), name


async def test_postgresql_follows_numbers_as_the_pure_functions(blog_engine: AsyncEngine) -> None:
    """Every pair of heartbeats of a small domain, with and without a suspicion before them.

    Each combination is a source of its own, so that one transaction applies all of them.
    """
    marks = list(itertools.product((1, 2, 3), (0, 1)))
    combined = enumerate(itertools.product(marks, (False, True), marks))
    cases = [(f"https://{number}.example", *case) for number, case in combined]
    first = [a_heartbeat(*last, source) for source, last, _, _ in cases]
    await _apply(blog_engine, *first)
    sources = ", ".join(f"'{source}'" for source, _, was_suspected, _ in cases if was_suspected)
    suspected = f"suspicion = '{QUEUE_LOST}', suspected_at = now()"
    await execute(blog_engine, f"UPDATE heartbeats SET {suspected} WHERE source IN ({sources})")

    await _apply(blog_engine, *(a_heartbeat(*coming, source) for source, _, _, coming in cases))

    found = {
        row.source: heartbeat_numbers.Last(
            row.number, row.recorded_at, row.suspicion and SuspicionKind(row.suspicion)
        )
        for row in await fetch(blog_engine, "SELECT * FROM heartbeats")
    }
    covered = set()
    async with blog_engine.connect() as connection:
        for source, _, _, (number, minutes) in cases:
            at = NOON + timedelta(minutes=minutes)
            if await has_applied(connection, issuer=source, number=number, recorded_at=at):
                covered.add(source)
    for source, (number, minutes), was_suspected, (next_number, next_minutes) in cases:
        last = heartbeat_numbers.Last(
            number, NOON + timedelta(minutes=minutes), QUEUE_LOST if was_suspected else None
        )
        at = NOON + timedelta(minutes=next_minutes)
        followed = heartbeat_numbers.follow(last, next_number, at) or last
        assert found[source] == followed
        assert (source in covered) == heartbeat_numbers.covers(followed, next_number, at)


async def test_a_suspicion_is_logged_once(blog_engine: AsyncEngine) -> None:
    with capture_logs() as logs:
        await _apply(blog_engine, *(a_heartbeat(n, n) for n in (1, 2, 5, 6, 7)))
        await _apply(blog_engine, a_heartbeat(8, 8), a_heartbeat(3, 30))
    logged = [(line["event"], line["kind"]) for line in logs]
    assert logged == [("heartbeat.suspicion", kind) for kind in (GAP, BACKWARDS)]
    assert_has_ids(logs, "heartbeat.suspicion")


async def test_a_replica_that_was_restored_is_suspected(blog_engine: AsyncEngine) -> None:
    """The heartbeat row is restored too, so the next heartbeat reveals the gap."""
    await _apply(blog_engine, *(a_heartbeat(n, n) for n in range(1, 9)))
    third = f"number = 3, recorded_at = '{NOON + timedelta(minutes=3)}'"
    await execute(blog_engine, f"UPDATE heartbeats SET {third}")
    await _apply(blog_engine, a_heartbeat(9, 9))
    assert await _kind(blog_engine) is GAP


async def test_a_comparison_clears_earlier_suspicions(blog_engine: AsyncEngine) -> None:
    await _apply(blog_engine, a_heartbeat(1, 0), a_heartbeat(5, 1))
    suspected = await reading(blog_engine, suspicion)
    assert suspected is not None

    await committed(blog_engine, clear_suspicion, before=suspected.since)
    during = await reading(blog_engine, suspicion)
    await committed(blog_engine, clear_suspicion, before=await _now(blog_engine))

    assert during == suspected
    assert await _kind(blog_engine) is None
    assert (await _row(blog_engine)).number == 5
    await _apply(blog_engine, a_heartbeat(6, 2))
    assert await _kind(blog_engine) is None


async def test_a_heartbeat_is_known_to_have_arrived(blog_engine: AsyncEngine) -> None:
    await _apply(blog_engine, a_heartbeat(7, 7), a_heartbeat(8, 8))
    async with blog_engine.connect() as connection:
        for issuer, number, minutes, expected in [
            (SOURCE, 8, 8, True),
            (SOURCE, 7, 7, True),
            (SOURCE, 9, 9, False),
            # Of the time before the source was restored: the number alone would do.
            (SOURCE, 7, 9, False),
            ("https://other.example", 7, 7, False),
        ]:
            at = NOON + timedelta(minutes=minutes)
            found = await has_applied(connection, issuer=issuer, number=number, recorded_at=at)
            assert found is expected, (issuer, number, minutes)


async def test_a_lost_queue_makes_a_replica_that_knows_a_source_suspect(
    blog_engine: AsyncEngine,
) -> None:
    """A replica without any heartbeat has lost nothing."""
    with capture_logs() as logs:
        await committed(blog_engine, note_queue_lost)
        before, logged_before = await _kind(blog_engine), list(logs)
        await _apply(blog_engine, a_heartbeat(1, 0))
        await committed(blog_engine, note_queue_lost)

    assert (before, logged_before) == (None, [])
    assert await _kind(blog_engine) is QUEUE_LOST
    assert [(line["event"], line["kind"]) for line in logs] == [("heartbeat.suspicion", QUEUE_LOST)]


async def test_a_purged_queue_shows_as_a_gap(inbox: Inbox) -> None:
    async with inbox.consuming():
        await inbox.source.publish(a_heartbeat(1, 0), an_event(a_state()))
        await inbox.has_applied(1)
    await inbox.source.publish(an_event(a_state()), a_heartbeat(2, 1), an_event(a_state()))

    await inbox.source.channel.queue_purge(LIVE)
    await inbox.source.publish(a_heartbeat(3, 2), an_event(a_state()))
    async with inbox.consuming():
        await inbox.has_applied(2)

    assert await _kind(inbox.engine) is GAP


async def test_a_queue_deleted_while_the_consumer_is_away_is_noticed(inbox: Inbox) -> None:
    """Even without a heartbeat in it, where the numbers would not reveal it.

    The first queue of a new consumer does not count as lost; any first heartbeat is accepted.
    """
    async with inbox.consuming():
        await inbox.source.publish(a_heartbeat(300, 0))
        await eventually(lambda: _has_beat(inbox.engine, 300))
    async with inbox.consuming():
        after_a_restart = await _kind(inbox.engine)
    await inbox.source.publish(an_event(a_state()))

    await inbox.source.channel.queue_delete(LIVE)
    async with inbox.consuming():
        await inbox.source.publish(a_heartbeat(301, 1))
        await eventually(lambda: _has_beat(inbox.engine, 301))

    assert after_a_restart is None
    assert await _kind(inbox.engine) is QUEUE_LOST


async def test_a_queue_deleted_under_the_consumer_is_noticed(inbox: Inbox) -> None:
    async with inbox.consuming() as consumer:
        await inbox.source.publish(a_heartbeat(1, 0))
        await eventually(lambda: _has_beat(inbox.engine, 1))
        before = await _kind(inbox.engine)
        await inbox.source.channel.queue_delete(LIVE)
        await eventually(lambda: _kind(inbox.engine))
        await eventually(lambda: is_consuming(consumer))
        since = await _now(inbox.engine)

    suspected = await reading(inbox.engine, suspicion)
    assert before is None
    assert suspected is not None
    assert suspected.kind is QUEUE_LOST
    assert suspected.since < since


async def test_the_loss_of_a_queue_is_recorded_before_it_is_declared_again(inbox: Inbox) -> None:
    """Otherwise a crash in between would hide the loss."""
    async with inbox.consuming():
        await inbox.source.publish(a_heartbeat(1, 0))
        await eventually(lambda: _has_beat(inbox.engine, 1))
    await inbox.source.channel.queue_delete(LIVE)

    async with holding(inbox.engine, "LOCK TABLE heartbeats IN ACCESS EXCLUSIVE MODE"):
        consumer = Consumer(USERS, inbox.settings, inbox.engine)
        running = asyncio.create_task(consumer.run())
        await eventually(lambda: lock_waits(inbox.engine))
        meanwhile = await depths(inbox.source.connection, USERS.queues)
    await eventually(lambda: is_consuming(consumer))
    consumer.stop()
    await running

    assert meanwhile[LIVE] is None
    assert await _kind(inbox.engine) is QUEUE_LOST


async def _has_beat(engine: AsyncEngine, number: int) -> bool:
    rows = await fetch(engine, "SELECT number FROM heartbeats")
    return [row.number for row in rows] == [number]
