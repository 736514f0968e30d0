"""Test redriving: the normal handler, one transaction, nothing lost or done twice."""

import asyncio
from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.replica_of_users import USERS
from contracts.events import Beat, RevokedKey
from contracts.sync.merge import Outcome
from replica.inbox.apply import apply
from replica.inbox.parking import claim
from replica.locks import lock
from replica.parked.model import Redriven
from replica.parked.redrive import parked_now, redrive, redrive_all
from tests.support.builders import NOON, a_state, a_tombstone, an_event
from tests.support.database_sessions import end_sessions
from tests.support.eventually import eventually
from tests.support.inbox import (
    accept_writes,
    apply_events,
    execute,
    fetch,
    parked,
    refuse_writes,
    replica,
)
from tests.support.locks import lock_waits
from tests.support.parked_messages import (
    UNTIL_NOW,
    a_delivery,
    park_deliveries,
    park_events,
    rubbish,
)
from tests.support.processes import Process

KID = "redriven-key"


async def test_each_kind_of_event_is_redriven(blog_engine: AsyncEngine) -> None:
    state, tombstone = a_state(version=7), a_tombstone(version=9)
    key = RevokedKey(kid=KID, revoked_at=NOON)
    data = (state, tombstone, Beat(number=5), key)
    await park_events(blog_engine, *(an_event(each) for each in data))

    done = await _all(blog_engine)

    assert [each.outcome for each in done] == [Outcome.APPLIED] * 4
    users = await replica(blog_engine)
    assert users[state.id].email == state.email
    assert (users[tombstone.id].version, users[tombstone.id].deleted_at) == (9, NOON)
    [beat] = await fetch(blog_engine, "SELECT number FROM heartbeats")
    [revoked] = await fetch(blog_engine, "SELECT kid FROM revoked_keys")
    assert (beat.number, revoked.kid) == (5, KID)
    assert await parked(blog_engine) == []


async def test_the_replica_decides_what_a_late_message_does(blog_engine: AsyncEngine) -> None:
    """Unchanged, stale or of a deleted user: it is removed, and the outcome says why."""
    same, newer, gone = a_state(version=3), a_state(version=8), uuid4()
    await apply_events(blog_engine, same, newer, a_tombstone(gone, 2))
    late = (same, a_state(newer.id, 7), a_state(gone, 1))
    ids = await park_events(blog_engine, *(an_event(each) for each in late))

    done = [await redrive(USERS, blog_engine, parked_id) for parked_id in ids]

    assert [each.outcome for each in done] == ["unchanged", "stale", "tombstoned"]
    assert await parked(blog_engine) == []
    assert (await replica(blog_engine))[newer.id].version == 8


async def test_a_message_that_fails_again_stays_with_a_new_reason(blog_engine: AsyncEngine) -> None:
    """Attempts, time, reason and error are new; the message and its first failure are not."""
    unreadable = a_delivery(an_event(a_state()), body=b'{"email": "someone@example.org"}')
    refused = a_delivery(an_event(a_state(email="nul\0@example.org")))
    ids = await park_deliveries(blog_engine, unreadable, refused, reason="dead_lettered")
    before = await parked(blog_engine)

    done = [await redrive(USERS, blog_engine, parked_id) for parked_id in ids]

    after = await parked(blog_engine)
    assert [each.outcome for each in done] == ["parked", "parked"]
    assert [row.reason for row in after] == ["invalid_data", "not_applicable"]
    for was, row, each in zip(before, after, done, strict=True):
        assert each.failure is not None
        assert (each.id, each.failure.reason, each.failure.error) == (row.id, row.reason, row.error)
        assert row.attempts == 2
        assert row.last_failed_at > was.last_failed_at
        assert row.error != UNTIL_NOW[1]
        assert "someone" not in row.error
        for name in ("body", "properties", "message_hash", "first_failed_at"):
            assert getattr(row, name) == getattr(was, name)


async def test_an_error_of_the_environment_changes_nothing(blog_engine: AsyncEngine) -> None:
    for sqlstate in ("53100", "40P01", "57014", "25006"):
        await park_events(blog_engine, an_event(a_state()))
        before = await parked(blog_engine)
        await refuse_writes(blog_engine, sqlstate)
        with pytest.raises(DBAPIError):
            await _all(blog_engine)
        assert await parked(blog_engine) == before, sqlstate
        await accept_writes(blog_engine)
        assert [each.outcome for each in await _all(blog_engine)] == ["applied"]


async def test_a_connection_that_is_cut_changes_nothing(blog_engine: AsyncEngine) -> None:
    user_id = uuid4()
    [parked_id] = await park_events(blog_engine, an_event(a_state(user_id)))
    before = await parked(blog_engine)
    async with blog_engine.connect() as holder:
        await apply(USERS, holder, [an_event(a_state(user_id, 5))])
        redriving = asyncio.create_task(redrive(USERS, blog_engine, parked_id))
        await eventually(lambda: lock_waits(blog_engine))
        await end_sessions(blog_engine, "wait_event_type = 'Lock'")

        with pytest.raises(DBAPIError):
            await redriving

    assert await parked(blog_engine) == before
    assert (await redrive(USERS, blog_engine, parked_id)).outcome == "applied"


async def test_a_redriven_deletion_erases_its_users_messages(blog_engine: AsyncEngine) -> None:
    """Including messages later in the same run, which then have no content."""
    user_id = uuid4()
    data = (a_tombstone(user_id, 5), a_state(user_id, 4), a_state())
    await park_events(blog_engine, *(an_event(each) for each in data))
    [_, late, _] = await parked(blog_engine)

    deletion = await redrive(USERS, blog_engine, late.id - 1)
    [erased, other] = await parked(blog_engine)
    rest = await _all(blog_engine)

    assert deletion.outcome == "applied"
    assert (erased.id, erased.body, other.body is None) == (late.id, None, False)
    assert [each.outcome for each in rest] == ["tombstoned", "applied"]
    assert (await replica(blog_engine))[user_id].status == "deleted"
    assert await parked(blog_engine) == []


async def test_an_erased_deletion_is_redriven_from_its_headers(blog_engine: AsyncEngine) -> None:
    user_id = uuid4()
    newer = a_delivery(an_event(a_tombstone(user_id, 9)), body=b"{")
    await apply_events(blog_engine, a_tombstone(user_id, 5))
    await park_deliveries(blog_engine, newer)
    [row] = await parked(blog_engine)

    [done] = await _all(blog_engine)

    assert row.body is None
    assert done.outcome == "applied"
    assert (await replica(blog_engine))[user_id].version == 9


async def test_an_erased_message_without_a_tombstone_is_kept(blog_engine: AsyncEngine) -> None:
    """Without the tombstone something is wrong, and the message stays as evidence."""
    await park_events(blog_engine, an_event(a_state()))
    await execute(blog_engine, "UPDATE parked_messages SET body = NULL")
    [done] = await _all(blog_engine)
    assert (done.outcome, done.failure and done.failure.reason) == ("parked", "invalid_data")
    assert len(await parked(blog_engine)) == 1


async def test_all_goes_in_the_order_of_parking_page_by_page(blog_engine: AsyncEngine) -> None:
    good = [a_delivery(an_event(a_state())) for _ in range(250)]
    deliveries = [each if n % 3 else rubbish(b"%d" % n) for n, each in enumerate(good)]
    ids = await park_deliveries(blog_engine, *deliveries)
    _, last = await parked_now(blog_engine)
    await park_events(blog_engine, an_event(a_state()))

    done = [each async for each in redrive_all(USERS, blog_engine, last=last)]

    assert [each.id for each in done] == ids
    assert Counter(each.outcome for each in done) == {"applied": 166, "parked": 84}
    left = await parked(blog_engine)
    assert {row.attempts for row in left[:-1]} == {2}
    assert (len(left), left[-1].attempts) == (85, 1)


async def test_several_runs_at_once_share_the_work(blog_engine: AsyncEngine) -> None:
    users = [uuid4() for _ in range(300)]
    ids = await park_events(blog_engine, *(an_event(a_state(user_id)) for user_id in users))
    runs = await asyncio.gather(*(_all(blog_engine) for _ in range(3)))
    assert sorted(each.id for run in runs for each in run) == ids
    assert {each.outcome for run in runs for each in run} == {"applied"}
    assert all(len(run) > 30 for run in runs)
    assert set(await replica(blog_engine)) == set(users)


async def test_a_message_of_another_run_is_left_to_it(blog_engine: AsyncEngine) -> None:
    ids = await park_events(blog_engine, *(an_event(a_state()) for _ in range(3)))
    async with blog_engine.connect() as other:
        await claim(other, ids[0], waits=False)
        running = asyncio.create_task(_all(blog_engine))
        await eventually(lambda: lock_waits(blog_engine))
        left = [row.id for row in await parked(blog_engine)]
        await other.rollback()

        done = await running

    assert left == [ids[0]]
    assert [each.id for each in done] == [ids[1], ids[2], ids[0]]


async def test_redriving_and_deleting_the_same_user_do_not_deadlock(
    blog_engine: AsyncEngine,
) -> None:
    """A parked deletion is redriven while the consumer deletes its user, in either order."""
    users = [uuid4() for _ in range(40)]
    ids = await park_events(blog_engine, *(an_event(a_tombstone(user_id, 5)) for user_id in users))

    for parked_id, user_id in zip(ids, users, strict=True):
        deleting = apply_events(blog_engine, a_tombstone(user_id, 6))
        await asyncio.gather(redrive(USERS, blog_engine, parked_id), deleting)

    assert await parked(blog_engine) == []
    assert {row.version for row in (await replica(blog_engine)).values()} == {6}


async def test_a_deletion_waits_for_its_user_before_the_message(blog_engine: AsyncEngine) -> None:
    """While the consumer locks the user, the message is unlocked, so there is no deadlock."""
    user_id = uuid4()
    [parked_id] = await park_events(blog_engine, an_event(a_tombstone(user_id, 5)))
    async with blog_engine.connect() as consumer:
        await lock(consumer, [user_id])
        redriving = asyncio.create_task(redrive(USERS, blog_engine, parked_id))
        await eventually(lambda: lock_waits(blog_engine, "advisory"))

        is_free = await claim(consumer, parked_id, waits=False) is not None
        await consumer.commit()
        done = await redriving

    assert is_free
    assert done.outcome == "applied"


async def test_a_heartbeat_does_not_wait_for_an_operators_lock(blog_engine: AsyncEngine) -> None:
    """A message that would expire while it is redriven is left to the next heartbeat."""
    ids = await park_deliveries(blog_engine, rubbish(b"1"), rubbish(b"2"))
    expired = "UPDATE parked_messages SET first_failed_at = now() - interval '31 days'"
    await execute(blog_engine, expired)

    async with blog_engine.connect() as operator:
        await claim(operator, ids[0], waits=True)
        await apply_events(blog_engine, Beat(number=1))

    assert [row.id for row in await parked(blog_engine)] == ids[:1]


async def test_a_killed_redrive_loses_nothing(
    blog_engine: AsyncEngine, blog_url: str, tmp_path: Path
) -> None:
    """Each user is in the replica or their message is parked; another run completes the work."""
    users = {uuid4() for _ in range(1_500)}
    await park_events(blog_engine, *(an_event(a_state(user_id)) for user_id in users))
    environment = {"BLOG_DATABASE_URL": blog_url}
    process = Process("blog-service parked redrive --all", environment, tmp_path / "log")

    async def has_left(messages: int) -> bool:
        [row] = await fetch(blog_engine, "SELECT count(*) AS parked FROM parked_messages")
        assert process.is_running or row.parked <= messages, process.log.read_text()[-2000:]
        return bool(row.parked <= messages)

    for left in (1_300, 900):
        process.start()
        try:
            await eventually(lambda left=left: has_left(left), every=0.002)  # type: ignore[misc]
        finally:
            process.kill()
        rows = await parked(blog_engine)
        applied = set(await replica(blog_engine))
        waiting = {row.user_id for row in rows}
        assert applied | waiting == users
        assert applied & waiting == set()
        assert waiting

    outcomes = Counter([each.outcome for each in await _all(blog_engine)])

    assert outcomes == {"applied": len(waiting)}
    assert set(await replica(blog_engine)) == users


async def _all(engine: AsyncEngine) -> list[Redriven]:
    _, last = await parked_now(engine)
    return [each async for each in redrive_all(USERS, engine, last=last)]
