"""What a replay sends, its order and pace, and how it handles failures."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pamqp.common import FieldTable
from prometheus_client import REGISTRY
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.heartbeat import record_heartbeat
from auth_service.replays.batch import STRETCH
from auth_service.replays.change_state import change_state
from auth_service.replays.model import (
    UNFINISHED_MAX,
    LogPruned,
    NoSuchReplay,
    ReplayFinished,
    State,
    TooManyReplays,
)
from auth_service.replays.start import start
from auth_service.replays.table import REPLAY_LEASE
from auth_service.settings import RelaySettings
from contracts.events import UserDeleted, UserState, UserTombstone, UserUpdated
from contracts.sync.replay_limits import RATE_MAX, TYPES
from tests.support.database_sessions import committed, end_sessions
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.load import change, delete, sign_up
from tests.support.locks import after_waiting
from tests.support.relaying import leader, outbox, proxied
from tests.support.replaying import (
    ACTOR,
    CONSUMER,
    Replays,
    bind_replays,
    insert_replays,
    killed,
    positions,
    replaying,
)
from tests.support.settings import having
from tests.support.source import Source
from tests.support.system import relay_process

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
UNKNOWN_ID = UUID(int=1)

History = list[Row[Any]]


@pytest.fixture
def settings(relay_settings: RelaySettings) -> RelaySettings:
    """Small batches, so that a few events make several, and short pauses."""
    return having(relay_settings, replay_batch_size=10, retry_seconds_max=0.2)


@pytest.fixture
async def replays(auth_engine: AsyncEngine, settings: RelaySettings, source: Source) -> Replays:
    await bind_replays(source)
    return Replays(auth_engine, settings, source)


@pytest.fixture
async def history(auth_engine: AsyncEngine) -> History:
    """Three users sign up and change, and all but the last are deleted, one event a minute.

    Heartbeats and a revoked key are in between. The first user's deletion erases their events.
    """
    async with auth_engine.begin() as connection:
        ada, bob, eve = [await sign_up(connection) for _ in range(3)]
        for user in (ada, bob, eve, ada, eve):
            await change(connection, user)
        await record_heartbeat(connection)
        for user in (ada, bob):
            await delete(connection, user)
        await change(connection, eve)
    await execute(
        auth_engine,
        "INSERT INTO outbox_events (type, payload) VALUES ('key.revoked', '{}')",
        f"UPDATE outbox_events SET occurred_at = timestamptz '{NOON}'"
        " + position * interval '1 minute' WHERE type <> 'user.deleted'",
    )
    return await outbox(auth_engine)


def minute(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


class TestTheLog:
    """Recorded events, as they were recorded."""

    async def test_the_same_event_is_sent_again(self, replays: Replays) -> None:
        """Byte for byte, with its id, time and position, persistent, under the consumer's name."""
        async with replays.engine.begin() as connection:
            user = await sign_up(connection)
            await change(connection, user)
        messages = await replays.sent()

        rows = await outbox(replays.engine)
        for row, message in zip(rows, messages, strict=True):
            assert message.body.decode() == row.text
            assert message.routing_key == CONSUMER
            assert message.properties.delivery_mode == 2
            assert message.properties.message_id == str(row.event_id)
            assert message.headers["cloudEvents_sequence"] == f"{row.position:020d}"
            assert message.headers["cloudEvents_source"] == replays.settings.issuer
            assert message.event.time == row.occurred_at
            assert message.event.data.subject_version == row.version

    FILTERS: tuple[tuple[str, Callable[[History], dict[str, Any]]], ...] = (
        ("all", lambda _: {}),
        ("since", lambda _: {"since": minute(5)}),
        ("until", lambda _: {"until": minute(5)}),
        ("between", lambda _: {"since": minute(2), "until": minute(8)}),
        ("position", lambda _: {"from_position": 6}),
        ("user", lambda rows: {"users": (rows[2].user_id,)}),
        ("two users", lambda rows: {"users": (rows[0].user_id, rows[1].user_id)}),
        ("unknown user", lambda _: {"users": (UNKNOWN_ID,)}),
        ("created", lambda _: {"types": ("user.created",)}),
        ("two types", lambda _: {"types": ("user.created", "user.updated")}),
        ("deleted", lambda _: {"types": ("user.deleted",)}),
        (
            "position, user and time",
            lambda rows: {
                "from_position": 3,
                "until": minute(9),
                "users": (rows[2].user_id, rows[0].user_id),
            },
        ),
        (
            "everything at once",
            lambda rows: {
                "since": minute(1),
                "until": minute(9),
                "from_position": 2,
                "users": tuple({row.user_id for row in rows}),
                "types": ("user.updated",),
            },
        ),
    )

    async def test_the_plan_counts_exactly_what_is_sent(
        self, replays: Replays, history: History
    ) -> None:
        """One tombstone per erased user; for other users the selected events, in order."""
        async with replays.replaying():
            for name, conditions in self.FILTERS:
                selection = conditions(history)
                plan = await replays.plan(**selection)
                requested = await replays.start(**selection)
                done = await replays.is_done(requested)
                messages = await replays.received()

                expected = [row for row in history if meets(row, **selection)]
                left = [row for row in expected if not is_erased(row)]
                gone = {row.user_id for row in expected if is_erased(row)}
                alone = gone - {row.user_id for row in left}
                in_log = [m for m in messages if "cloudEvents_sequence" in m.headers]
                stand_ins = [m.event for m in messages if m not in in_log]
                assert positions(in_log) == [row.position for row in left], name
                assert {event.data.subject for event in stand_ins} == alone, name
                assert len(stand_ins) == len(alone), name
                assert {event.type for event in stand_ins} <= {UserDeleted.type}, name
                assert Counter(m.event.type for m in messages) == Counter(plan.by_type), name
                assert (plan.events, plan.erased_users) == (len(messages), len(gone)), name
                assert plan.by_type.keys() == set(TYPES)
                assert (plan.warning is not None) == ("types" in selection), name
                assert (done.expected, done.published) == (len(messages), len(messages)), name
                assert done.started_at is not None
                assert done.finished_at is not None
                assert done.finished_at >= done.started_at >= done.created_at

    async def test_gaps_in_the_log_cost_nothing_and_nothing_recorded_later_is_sent(
        self, replays: Replays
    ) -> None:
        """A restore moves positions by a thousand million; events of a rare type are far apart."""
        await replays.fill(13)
        await replays.execute(
            "SELECT setval(pg_get_serial_sequence('outbox_events', 'position'), 1000000000)"
        )
        await replays.fill(12)
        requested = await replays.start()
        await replays.fill(5)
        before = time.monotonic()

        async with replays.replaying():
            done = await replays.is_done(requested)

        expected = [*range(1, 14), *range(1000000001, 1000000013)]
        assert (await replays.positions(), done.published) == (expected, 25)
        assert time.monotonic() - before < 10
        assert STRETCH < 10**9 / 1000

    async def test_users_who_are_not_selected_are_skipped(self, replays: Replays) -> None:
        """Two selected events, with a whole stretch of others between them."""
        await replays.fill(STRETCH + 2)
        where = f"WHERE position IN (1, {STRETCH + 2})"
        selected = await replays.fetch(f"SELECT user_id FROM outbox_events {where}")

        messages = await replays.sent(users=tuple(row.user_id for row in selected))

        assert positions(messages) == [1, STRETCH + 2]


class TestErasedUsers:
    """Only a tombstone is ever sent of an erased user."""

    async def test_no_message_has_an_erased_address(
        self, replays: Replays, history: History
    ) -> None:
        """Of living users there are addresses; of erased ones only id, version and time."""
        by_log = await replays.sent()
        by_type = await replays.sent(types=("user.created",))
        by_state = await replays.sent(current_state=True)

        [living] = await replays.fetch("SELECT * FROM users WHERE deleted_at IS NULL")
        dead = await replays.fetch("SELECT * FROM users WHERE deleted_at IS NOT NULL")
        for messages in (by_log, by_type, by_state):
            with_address = {m.event.data.subject for m in messages if b"@example.org" in m.body}
            assert with_address == {living.id}
            tombstones = {m.event.data for m in messages if m.event.type == UserDeleted.type}
            kept = ("id", "version", "deleted_at")
            expected = [
                UserTombstone(**{name: getattr(row, name) for name in kept}) for row in dead
            ]
            assert tombstones == set(expected)
        assert len(by_type) == len(history and {row.user_id for row in history})

    async def test_a_user_erased_during_the_replay_is_sent_as_a_tombstone(
        self, replays: Replays
    ) -> None:
        """Each row is read just before publishing, so what was erased meanwhile is not sent."""
        async with replays.engine.begin() as connection:
            user = await sign_up(connection)
            for _ in range(10):
                await change(connection, user)
        replays.settings = replays.changed(replay_batch_size=5)
        requested = await replays.start(types=("user.created", "user.updated"))
        async with replays.replaying():
            await replays.is_done(requested)
        before = await replays.received()

        requested = await replays.start(types=("user.created", "user.updated"), rate=20)
        async with replays.replaying():
            await replays.has_sent(requested, 2)
            await committed(replays.engine, delete, user)
            seen = (await replays.read(requested)).published
            done = await replays.is_done(requested)

        messages = await replays.received()
        assert len(before) == 11
        assert isinstance(messages[-1].event.data, UserTombstone)
        # Those read before the deletion, one batch in flight, and the tombstone.
        assert seen + 1 <= len(messages) <= seen + 2 + 1 < 11
        assert done.published == len(messages)


class TestTheCurrentState:
    """Users in their current state, by id."""

    async def test_every_user_is_sent_once(self, replays: Replays) -> None:
        """Living users with state and present time, deleted ones with the time of deletion."""
        async with replays.engine.begin() as connection:
            users = [await sign_up(connection) for _ in range(35)]
            for user in users[:12]:
                await delete(connection, user)
        plan = await replays.plan(current_state=True)
        [before] = await replays.fetch("SELECT clock_timestamp() AS now")

        messages = await replays.sent(current_state=True)

        rows = {row.id: row for row in await replays.fetch("SELECT * FROM users")}
        [after] = await replays.fetch("SELECT clock_timestamp() AS now")
        assert Counter(message.event.data.subject for message in messages) == Counter(list(rows))
        for message in messages:
            row, event = rows[message.event.data.subject], message.event
            assert message.headers["cloudEvents_subjectversion"] == f"{row.version:016d}"
            assert event.sequence is None
            if row.deleted_at is None:
                assert (event.type, message.routing_key) == (UserUpdated.type, CONSUMER)
                assert isinstance(event.data, UserState)
                assert (event.data.email, event.data.version) == (row.email, row.version)
                assert before.now <= event.time <= after.now
            else:
                assert (event.type, event.time) == (UserDeleted.type, row.deleted_at)
        assert (plan.events, plan.erased_users) == (35, 12)
        assert plan.by_type == {"user.created": 0, "user.updated": 23, "user.deleted": 12}

    async def test_it_can_be_limited_to_users(self, replays: Replays, history: History) -> None:
        named = (history[0].user_id, history[2].user_id, UNKNOWN_ID)
        messages = await replays.sent(current_state=True, users=named)
        assert [m.event.data.subject for m in messages] == sorted(set(named) - {UNKNOWN_ID})


class TestPrunedLog:
    """A replay from before the log's oldest event would be silently incomplete."""

    @pytest.fixture(autouse=True)
    async def pruned(self, auth_engine: AsyncEngine, history: History) -> None:
        """Prune the first four events."""
        assert history
        delete = "DELETE FROM outbox_events WHERE position <= 4"
        await execute(auth_engine, "UPDATE source SET pruned_position = 4", delete)

    async def test_a_replay_that_begins_before_the_log_is_refused(self, replays: Replays) -> None:
        for selection in (
            {},
            {"until": minute(100)},
            {"types": ("user.deleted",)},
            {"users": (UNKNOWN_ID,)},
            {"from_position": 4},
            {"since": minute(5)},
            {"from_position": 1, "since": minute(2)},
        ):
            with pytest.raises(LogPruned, match="--current-state"):
                await replays.plan(**selection)

        assert await replays.fetch("SELECT 1 FROM replays") == []

    async def test_a_replay_that_begins_later_is_accepted(self, replays: Replays) -> None:
        for selection in (
            {"from_position": 5},
            {"since": minute(5) + timedelta(microseconds=1)},
            {"from_position": 1, "since": minute(6)},
            {"from_position": 6, "since": minute(1)},
            {"current_state": True},
        ):
            assert (await replays.plan(**selection)).events > 0

    async def test_pruning_after_the_count_is_noticed(self, replays: Replays) -> None:
        """The row of the source is locked while the replay is inserted, and read after that."""
        counted = await replays.plan(from_position=5)
        starting = start(replays.engine, counted, actor=ACTOR)
        prune = "UPDATE source SET pruned_position = 5"
        with pytest.raises(LogPruned):
            await after_waiting(replays.engine, starting, prune)


class TestSteering:
    async def test_a_resumed_replay_continues_at_its_checkpoint(self, replays: Replays) -> None:
        """While it is paused nothing is sent; later nothing is sent twice or missing."""
        await replays.fill(60)
        requested = await replays.start(rate=100)
        async with replays.replaying():
            await replays.has_sent(requested, 10)
            await replays.change(requested, State.PAUSED)
            other = await replays.start(from_position=60)
            await replays.is_done(other)  # it does not block the next one
            paused = await replays.read(requested)
            assert await replays.source.ready(replays.queue) == paused.published + 1 < 60

            await replays.change(requested, State.RUNNING)
            await replays.is_done(requested)

        sent = await replays.positions()
        assert sorted(sent) == [*range(1, 61), 60]
        assert sent[: paused.published] == list(range(1, paused.published + 1))

    async def test_a_cancelled_replay_ends_within_a_batch(self, replays: Replays) -> None:
        """It stays cancelled, and the next one begins."""
        await replays.fill(60)
        requested = await replays.start(rate=50)
        next_one = await replays.start(from_position=60)
        async with replays.replaying():
            await replays.has_sent(requested, 5)
            cancelled = await replays.change(requested, State.CANCELLED)
            await replays.is_done(next_one)

        found = await replays.read(requested)
        sent = await replays.positions()
        assert sent == [*range(1, found.published + 1), 60]
        assert found.published <= cancelled.published + 5  # one batch at that rate
        assert found.state == State.CANCELLED
        assert found.finished_at is not None
        with pytest.raises(ReplayFinished):
            await replays.change(requested, State.RUNNING)
        with pytest.raises(ReplayFinished):
            await replays.change(next_one, State.CANCELLED)

    async def test_a_replay_cancelled_in_its_last_batch_is_not_done(self, replays: Replays) -> None:
        """Confirmed events count, and the operator's decision stays."""
        await replays.fill(2)
        requested = await replays.start(rate=1)
        async with proxied(replays.settings) as (proxy, through), replaying(through):
            await replays.has_sent(requested, 1)
            proxy.swallow_answers()
            await eventually(lambda: grows(replays, 1))
            await replays.change(requested, State.CANCELLED)
            proxy.swallow_answers(False)
            found = await replays.has_sent(requested, 2)

        assert found.state == State.CANCELLED

    async def test_a_new_replay_begins_at_once(self, replays: Replays) -> None:
        """An idle replayer runs no statement, and is woken."""
        await replays.fill(1)
        async with replays.replaying():
            await eventually(lambda: is_idle(replays.engine))
            for is_resumed in (False, True, False, True):
                requested = await replays.start()
                if is_resumed:
                    await replays.is_done(requested)
                    await replays.execute("UPDATE replays SET state = 'paused'")
                    await replays.change(requested, State.RUNNING)
                before = time.monotonic()
                await replays.is_done(requested)
                assert time.monotonic() - before < 1

    async def test_every_action_is_audited_once(self, replays: Replays) -> None:
        """With the actor; a request that changes nothing leaves no entry."""
        await replays.fill(3)
        requested = await replays.start()
        for state in (State.PAUSED, State.PAUSED, State.RUNNING, State.CANCELLED, State.CANCELLED):
            await replays.change(requested, state, actor="operator:other")

        rows = await replays.fetch("SELECT * FROM audit_log ORDER BY id")
        actions = [f"replay_{verb}" for verb in ("started", "paused", "resumed", "cancelled")]
        assert [row.action for row in rows] == actions
        assert [row.actor for row in rows] == [ACTOR, *["operator:other"] * 3]
        assert {row.subject for row in rows} == {str(requested.id)}
        assert rows[0].details == {"consumer": CONSUMER, "current_state": False, "events": 3}
        assert requested.requested_by == ACTOR

    async def test_the_number_of_unfinished_replays_is_limited(self, replays: Replays) -> None:
        await insert_replays(replays.engine, UNFINISHED_MAX)
        with pytest.raises(TooManyReplays):
            await replays.start()
        await replays.execute("UPDATE replays SET state = 'done'")

        assert await replays.start()
        with pytest.raises(NoSuchReplay):
            await change_state(replays.engine, UNKNOWN_ID, State.PAUSED, actor=ACTOR)


class TestTrouble:
    async def test_a_killed_replayer_repeats_at_most_one_batch(self, replays: Replays) -> None:
        """Cancelled in the middle of batches again and again: no event is missing."""
        await replays.fill(150)
        requested = await replays.start()
        times, begun = 0, 0
        async with proxied(replays.settings) as (proxy, through):
            while (await replays.read(requested)).state != State.DONE and times < 3:
                async with replaying(through) as running:
                    await replays.has_sent(requested, begun + 20)
                    proxy.swallow_answers()  # the broker has a batch, and its confirms are lost
                    await eventually(partial(grows, replays, begun))
                    ending = asyncio.ensure_future(killed(running))
                    await asyncio.sleep(0)  # cancelled before the connection is cut
                    proxy.cut()
                    await ending
                proxy.swallow_answers(False)
                begun = (await replays.read(requested)).published
                times += 1
        async with replays.replaying():
            await replays.is_done(requested)

        counted = Counter(await replays.positions())
        assert times == 3
        assert sorted(counted) == list(range(1, 151))
        assert set(counted.values()) <= {1, 2}
        assert 0 < sum(counted.values()) - 150 <= times * replays.settings.replay_batch_size

    async def test_a_replay_without_a_queue_blocks_no_other(self, replays: Replays) -> None:
        """A consumer that was never started blocks no other consumer's replays."""
        await replays.fill(25)
        nowhere = await replays.start(consumer="later")
        after = await replays.start()
        async with replays.replaying():
            waiting = await replays.is_troubled(nowhere, "no queue is bound")
            await replays.is_done(after)
            later = await bind_replays(replays.source, "later")
            done = await replays.is_done(nowhere)

        assert (waiting.published, waiting.state) == (0, State.RUNNING)
        assert (done.published, done.trouble) == (25, None)
        assert await replays.positions() == list(range(1, 26))
        assert positions(await replays.received(later)) == list(range(1, 26))

    async def test_a_replay_waits_for_a_full_queue(
        self, auth_engine: AsyncEngine, settings: RelaySettings, source: Source
    ) -> None:
        """Even one smaller than a batch: what the queue accepted is not sent again and again."""
        arguments: FieldTable = {"x-queue-type": "classic", "x-max-length": 4}
        await bind_replays(source, arguments=arguments | {"x-overflow": "reject-publish"})
        replays = Replays(auth_engine, settings, source)
        await replays.fill(30)
        requested = await replays.start()
        seen: list[int] = []
        async with replays.replaying():
            await replays.is_troubled(requested, "full")

            async def drained() -> bool:
                seen.extend(await replays.positions())
                return (await replays.read(requested)).state == State.DONE

            await eventually(drained, within=60)
            await drained()

        assert set(seen) == set(range(1, 31))

    async def test_a_replay_waits_for_a_broker_that_is_away(self, replays: Replays) -> None:
        """It reports the trouble and continues by itself; a cut connection loses nothing."""
        await replays.fill(100)
        requested = await replays.start(rate=200)
        async with proxied(replays.settings) as (proxy, through):
            proxy.refuse()
            async with replaying(through):
                await replays.is_troubled(requested, "the broker is away")
                proxy.refuse(False)
                for _ in range(3):
                    so_far = (await replays.read(requested)).published
                    await replays.has_sent(requested, min(100, so_far + 10))
                    proxy.cut()
                done = await replays.is_done(requested)

        assert set(await replays.positions()) == set(range(1, 101))
        assert (done.published, done.trouble) == (100, None)

    async def test_two_relays_never_replay_at_once(self, replays: Replays) -> None:
        """One has the lease; when its session ends, the other continues the replay."""
        await replays.fill(120)
        requested = await replays.start(rate=100)
        leaders = set()
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await stack.enter_async_context(replays.replaying())
            for part in (20, 50):
                await replays.has_sent(requested, part)
                pid = await eventually(lambda: leader(replays.engine, REPLAY_LEASE))
                leaders.add(pid)
                await end_sessions(replays.engine, f"pid = {pid}")
            await replays.is_done(requested)

        counted = Counter(await replays.positions())
        assert len(leaders) == 2
        assert sorted(counted) == list(range(1, 121))
        assert sum(counted.values()) <= 120 + 2 * replays.settings.replay_batch_size

    async def test_an_unexpected_error_blocks_no_other_consumer(self, replays: Replays) -> None:
        """A user's row breaks the events' contract: the replay shows it, the next one is sent."""
        user = await committed(replays.engine, sign_up)
        await replays.execute(f"UPDATE users SET email = 'x' WHERE id = '{user}'")
        broken = await replays.start(consumer="other", current_state=True)
        after = await replays.start()
        async with replays.replaying():
            await replays.is_troubled(broken, "ValidationError")
            await replays.is_done(after)

        assert await replays.positions() == [1]

    async def test_a_replay_survives_a_killed_process(
        self, replays: Replays, tmp_path: Path
    ) -> None:
        """``auth-service relay`` itself, killed with SIGKILL in the middle, and started again."""
        await replays.fill(200)
        requested = await replays.start(rate=200)
        with relay_process(replays.settings, tmp_path) as process:
            process.start()
            await replays.has_sent(requested, 60)
            process.kill()
            between = await replays.read(requested)
            process.start()
            await replays.is_done(requested)
            code = await process.stop()

        counted = Counter(await replays.positions())
        assert between.published < 200
        assert code == 0
        assert sorted(counted) == list(range(1, 201))
        assert sum(counted.values()) <= 200 + 20  # one batch at that rate


class TestPace:
    """The rate, and the order of replays."""

    async def test_the_rate_is_kept(self, replays: Replays) -> None:
        await replays.fill(1_000)
        requested = await replays.start(rate=200)
        async with replays.replaying():
            await replays.has_sent(requested, 1)
            before = time.monotonic()
            await replays.has_sent(requested, 400)
            found = await replays.read(requested)
            seconds = time.monotonic() - before

        assert found.published <= 200 * (seconds + 0.1) + 20 + 1
        assert seconds < 10

    async def test_replays_are_sent_one_after_the_other(self, replays: Replays) -> None:
        """The second begins when the first is done; confirmed events are counted."""
        await replays.fill(50)
        first = await replays.start(rate=500)
        second = await replays.start(rate=RATE_MAX, from_position=26)
        name = "usersync_replay_published_total"
        before = REGISTRY.get_sample_value(name) or 0.0

        async with replays.replaying():
            done = [await replays.is_done(each) for each in (first, second)]

        assert await replays.positions() == [*range(1, 51), *range(26, 51)]
        assert done[0].finished_at is not None
        assert done[1].started_at is not None
        assert done[0].finished_at <= done[1].started_at
        assert REGISTRY.get_sample_value(name) == before + 75


def meets(
    row: Row[Any],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    from_position: int = 1,
    users: tuple[UUID, ...] = (),
    types: tuple[str, ...] = (),
) -> bool:
    return (
        (since is None or row.occurred_at >= since)
        and (until is None or row.occurred_at < until)
        and row.position >= from_position
        and (not users or row.user_id in users)
        and (not types or row.type in types)
    )


def is_erased(row: Row[Any]) -> bool:
    return row.text is None and row.type != UserDeleted.type


async def grows(replays: Replays, size: int) -> bool:
    """Return whether the queue has more messages than that."""
    return await replays.source.ready(replays.queue) > size


async def is_idle(engine: AsyncEngine) -> bool:
    idle = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle'"
        " AND application_name = :name AND query ILIKE '%FROM replays%'"
    )
    return bool(await fetch(engine, idle, name=REPLAY_LEASE.application_name))
