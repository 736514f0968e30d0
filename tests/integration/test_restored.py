"""``auth-service restored``: no change of the lost time can win afterwards."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.accounts.delete import delete_by
from auth_service.outbox.advance_sequences import ADVANCE_BY
from auth_service.outbox.heartbeat import record_heartbeat
from auth_service.outbox.record import record
from auth_service.outbox.table import RELAY_LEASE
from auth_service.restore.after_restore import (
    BATCH_USERS,
    RelayActive,
    Restored,
    supersede_lost_versions,
)
from auth_service.settings import RelaySettings
from auth_service.users.bump_versions import bump_versions
from auth_service.users.table import to_user
from contracts.events import DATA_OF, UserState, UserUpdated
from service_kit.database.lease import hold
from tests.support.builders import a_state, an_event
from tests.support.database_sessions import committed
from tests.support.eventually import eventually
from tests.support.inbox import Inbox, execute, fetch, replica
from tests.support.processes import AuthCommand
from tests.support.relaying import Pipe, outbox

FLOOR = 1_700_000_000_000_000
"""In November 2023."""

AHEAD = 4_000_000_000_000_000
"""In the year 2096: no clock reaches it."""


async def some_users(engine: AsyncEngine, count: int, *, version: int = 1) -> list[UUID]:
    rows = await returned(
        engine,
        "INSERT INTO users (email, password_hash, version, roles, tokens_valid_after)"
        f" SELECT 'user' || n || '@example.org', 'x', {version}, '{{editor}}', '2026-01-01'"
        f" FROM generate_series(1, {count}) AS n RETURNING id",
    )
    await execute(engine, "INSERT INTO sessions (user_id) SELECT id FROM users")
    return [row.id for row in rows]


async def returned(engine: AsyncEngine, statement: str) -> list[Any]:
    async with engine.begin() as connection:
        return list(await connection.exec_driver_sql(statement))


async def run_restored(engine: AsyncEngine, *, floor: int = FLOOR) -> Restored:
    return await supersede_lost_versions(
        engine, floor=floor, actor="operator:op", begin=lambda _: lambda _: None
    )


async def versions(engine: AsyncEngine) -> dict[UUID, int]:
    return {row.id: row.version for row in await fetch(engine, "SELECT id, version FROM users")}


async def test_every_version_is_above_the_floor_and_the_users_own(auth_engine: AsyncEngine) -> None:
    """Whichever of floor, clock and the user's own version is the highest."""
    await some_users(auth_engine, 3)
    values = f"VALUES ('ahead@example.org', 'x', {AHEAD + 7}) RETURNING id"
    insert = f"INSERT INTO users (email, password_hash, version) {values}"
    [beyond] = await returned(auth_engine, insert)
    for number, floor in enumerate((FLOOR, AHEAD)):
        [clock] = await fetch(auth_engine, "SELECT extract(epoch FROM now()) * 1000000 AS now")
        done = await run_restored(auth_engine, floor=floor)
        found = await versions(auth_engine)
        assert (done.users, done.taken_up) == (4, False)
        assert done.sessions_ended == (0 if number else 3)
        assert found.pop(beyond.id) == AHEAD + 8 + number
        assert all(version > floor for version in found.values())
        assert all(version >= clock.now for version in found.values())


async def test_every_living_user_gets_an_event_with_their_state(auth_engine: AsyncEngine) -> None:
    """It decodes to the row, and its bytes equal those of a single record."""
    active, disabled, deleted = await some_users(auth_engine, 3)
    await execute(auth_engine, f"UPDATE users SET status = 'disabled' WHERE id = '{disabled}'")
    await delete_by(auth_engine, deleted, actor="operator:op")
    [before] = await fetch(auth_engine, "SELECT * FROM users WHERE status = 'deleted'")

    await run_restored(auth_engine)

    rows = {row.id: row for row in await fetch(auth_engine, "SELECT * FROM users")}
    for user_id in (active, disabled):
        [event] = await outbox(auth_engine, user_id)
        user = to_user(rows[user_id])
        assert (event.type, event.version) == (UserUpdated.type, user.version)
        assert DATA_OF[event.type].model_validate_json(event.text) == user.state()
        await committed(auth_engine, record, UserUpdated.type, user.state())
        *_, single = await outbox(auth_engine, user_id)
        assert single.text == event.text
    assert rows[deleted] == before
    assert [event.type for event in await outbox(auth_engine, deleted)] == ["user.deleted"]


async def test_positions_and_heartbeats_are_never_reused(auth_engine: AsyncEngine) -> None:
    """Both continue far above what the lost time may have used, before anything is recorded."""
    await some_users(auth_engine, 2)
    await execute(auth_engine, "UPDATE source SET heartbeat = 41")
    await committed(auth_engine, record_heartbeat)
    [last] = await fetch(auth_engine, "SELECT max(position) AS position FROM outbox_events")

    done = await run_restored(auth_engine)
    await committed(auth_engine, record_heartbeat)

    events = await fetch(auth_engine, "SELECT * FROM outbox_events ORDER BY position")
    positions = [event.position for event in events]
    assert positions[0] == last.position
    assert positions[1] == done.position + 1 > last.position + ADVANCE_BY
    assert events[-1].payload == {"number": done.heartbeat + 1}
    assert done.heartbeat == 42 + ADVANCE_BY


async def test_revocations_of_the_lost_time_cannot_be_undone(auth_engine: AsyncEngine) -> None:
    """All sessions end, all earlier tokens are refused, and links in mails are void."""
    one, other = await some_users(auth_engine, 2)
    await execute(
        auth_engine,
        f"UPDATE sessions SET ended_at = '2026-01-01', end_reason = 'signed_out'"
        f" WHERE user_id = '{one}'",
        "INSERT INTO mail_links (token_hash, user_id, purpose, expires_at)"
        f" VALUES ('x', '{one}', 'password_reset', now() + interval '1 hour')",
    )
    [now] = await fetch(auth_engine, "SELECT date_trunc('second', now()) AS second")

    done = await run_restored(auth_engine)

    ended = await fetch(auth_engine, "SELECT user_id, end_reason FROM sessions")
    assert dict(map(tuple, ended)) == {one: "signed_out", other: "restored"}
    assert (done.sessions_ended, done.links_erased) == (1, 1)
    assert not await fetch(auth_engine, "SELECT 1 FROM mail_links")
    for event in await outbox(auth_engine):
        state = UserState.model_validate_json(event.text)
        assert state.tokens_valid_after is not None
        assert state.tokens_valid_after > now.second


async def test_it_is_refused_while_a_relay_is_active(
    auth_engine: AsyncEngine, relay_settings: RelaySettings
) -> None:
    """And no relay becomes active while it runs."""
    [user_id] = await some_users(auth_engine, 1)
    async with hold(relay_settings, RELAY_LEASE):
        with pytest.raises(RelayActive):
            await run_restored(auth_engine)

    relays = []

    async def relay() -> int:
        async with hold(relay_settings, RELAY_LEASE):
            return (await versions(auth_engine))[user_id]

    def begin(_: int) -> Any:
        relays.append(asyncio.get_running_loop().create_task(relay()))
        return lambda _: None

    await supersede_lost_versions(auth_engine, floor=FLOOR, actor="operator:op", begin=begin)
    [seen] = await asyncio.gather(*relays)
    assert seen > FLOOR


async def test_running_it_again_is_harmless(auth_engine: AsyncEngine) -> None:
    """Every user gets another version, and the numbers move again; both runs are audited."""
    await some_users(auth_engine, 2)

    first = await run_restored(auth_engine)
    before = await versions(auth_engine)
    second = await run_restored(auth_engine)

    after = await versions(auth_engine)
    assert (first.taken_up, second.taken_up) == (False, False)
    assert all(after[user_id] > before[user_id] for user_id in before)
    assert second.position > first.position + ADVANCE_BY
    entries = await fetch(auth_engine, "SELECT * FROM audit_log ORDER BY id")
    assert [(e.action, e.actor, e.details["step"]) for e in entries] == [
        ("source_restored", "operator:op", step) for step in ("begun", "done", "begun", "done")
    ]


async def test_an_interrupted_run_is_resumed(auth_engine: AsyncEngine) -> None:
    """The second run changes the remaining users, and no user twice; another floor starts over."""
    await some_users(auth_engine, BATCH_USERS + 3, version=FLOOR + 5)

    def cut_off(_: int) -> None:
        raise ConnectionAbortedError

    given: dict[str, Any] = {"floor": FLOOR, "actor": "operator:op"}
    with pytest.raises(ConnectionAbortedError):  # as if the process had ended
        await supersede_lost_versions(auth_engine, **given, begin=lambda _: cut_off)
    first = await outbox(auth_engine)
    told: list[int] = []

    done = await supersede_lost_versions(
        auth_engine, **given, begin=lambda users: lambda by: told.extend([users, by])
    )

    assert len(first) == BATCH_USERS
    assert (done.taken_up, done.users, told) == (True, 3, [3, 3])
    events = await outbox(auth_engine)
    assert len(events) == len({event.user_id for event in events}) == BATCH_USERS + 3
    assert all(event.position > done.position for event in events)

    again = await run_restored(auth_engine, floor=FLOOR + 1)
    assert (again.taken_up, again.users) == (False, BATCH_USERS + 3)


async def test_a_user_changed_below_the_floor_later_is_included(auth_engine: AsyncEngine) -> None:
    """As when the API started too early, with a floor ahead of the clock."""
    changed, left, done = sorted(await some_users(auth_engine, 3))
    await execute(
        auth_engine,
        f"UPDATE users SET version = {AHEAD + 1} WHERE id <> '{changed}'",
        "INSERT INTO outbox_events (type, user_id, version, payload)"
        f" SELECT 'user.updated', id, version, '{{}}' FROM users WHERE id <> '{left}'",
    )
    given: dict[str, Any] = {"floor": AHEAD, "after": UUID(int=0), "since": 0, "limit": 9}
    renewed = await committed(auth_engine, bump_versions, **given)

    assert [user.id for user in renewed] == [changed, left]
    assert (await versions(auth_engine))[done] == AHEAD + 1


async def test_events_recorded_before_the_backup_are_published_and_stale(
    unbound: Pipe, inbox: Inbox
) -> None:
    """The replica, which has applied the lost time, ends with the restored source's state."""
    [user_id] = await some_users(unbound.engine, 1, version=FLOOR - 10)
    [row] = await unbound.fetch("SELECT * FROM users")
    await unbound.record(to_user(row).state())
    lost = a_state(user_id, FLOOR, email="lost@example.org")
    created = a_state(uuid4(), FLOOR - 1)

    async with inbox.consuming():
        await inbox.source.publish(an_event(lost), an_event(created))
        await eventually(lambda: _has(inbox.engine, user_id, "lost@example.org"))
        await run_restored(unbound.engine)
        async with unbound.relaying():
            await eventually(lambda: _has(inbox.engine, user_id, "user1@example.org"))

    rows = await replica(inbox.engine)
    assert rows[user_id].version == (await versions(unbound.engine))[user_id] > FLOOR
    assert rows[created.id].version == FLOOR - 1
    assert await unbound.all_published()


async def _has(engine: AsyncEngine, user_id: UUID, email: str) -> bool:
    rows = await replica(engine)
    return user_id in rows and rows[user_id].email == email


async def test_the_command_shows_what_was_done_and_what_to_check(
    auth_command: AuthCommand, auth_engine: AsyncEngine
) -> None:
    await some_users(auth_engine, 2)

    as_json = await auth_command(f"restored --floor {FLOOR} --json")
    as_text = await auth_command(f"restored --floor {AHEAD}")

    shown = json.loads(as_json.stdout)
    assert (as_json.returncode, as_text.returncode) == (0, 0), as_text.stderr
    assert (shown["floor"], shown["users"], shown["sessions_ended"]) == (FLOOR, 2, 2)
    assert len(as_text.stdout.splitlines()) == len(shown)
    for remedy in ("keys list", "services list", "reconcile", "users erase"):
        assert remedy in as_json.stderr
    assert "warning" not in as_json.stderr
    assert "days ahead" in as_text.stderr


async def test_the_command_refuses_with_a_sentence_and_changes_nothing(
    auth_command: AuthCommand, auth_engine: AsyncEngine, relay_settings: RelaySettings
) -> None:
    """Without a floor, with an impossible one, and while a relay is active."""
    [user_id] = await some_users(auth_engine, 1)
    none = await auth_command("restored")
    too_high = await auth_command("restored --floor 9007199254740991")
    async with hold(relay_settings, RELAY_LEASE):
        active = await auth_command(f"restored --floor {FLOOR}")

    assert (none.returncode, none.stdout) == (2, "")
    assert "--floor" in none.stderr
    assert (too_high.returncode, too_high.stdout) == (1, "")
    assert "from 0 to 9007199254740990" in too_high.stderr
    assert active.returncode == 1
    assert active.stderr.startswith("a relay is active on this database: stop")
    assert len(active.stderr.splitlines()) == 1
    assert await versions(auth_engine) == {user_id: 1}
