"""The commands of both services, as operators use them."""

import json
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from tests.end_to_end.conftest import Running
from tests.support.eventually import eventually
from tests.support.load import sign_up_many
from tests.support.settled import figure
from tests.support.system import System, ended

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"
STATUS = {
    "auth-service status": {
        *("pipe", "source", "users", "users_deleted", "position", "unpublished", "clock"),
        *("oldest_unpublished_age_seconds", "relay", "trouble", "trouble_since", "queues"),
        *("last_heartbeat", "last_heartbeat_age_seconds", "oldest_position", "oldest_at"),
        *("pruned_position", "replays_unfinished", "replay", "replay_published"),
        *("replay_expected", "set_aside", "events_behind", "held_rows", "held_since"),
    },
    "blog-service status": {
        *("proof", "agreement", "pipe", "consumers", "consumers_stopped", "consumer_age_seconds"),
        *("lag_seconds", "clock", "degraded", "replay_queue_depth", "queue_depth"),
        "urgent_queue_depth",
        *("last_reconcile", "last_reconcile_at", "last_reconcile_reason", "reconcile_trouble"),
        *("last_reconcile_users", "last_reconcile_differing", "last_reconcile_repaired"),
        *("last_reconcile_explanation", "users", "users_deleted", "users_provisional"),
        *("highest_version", "last_applied_at", "parked_messages", "waiting_messages"),
        *("waiting_oldest_seconds", "waiting_for", "waiting_reasons", "last_heartbeat"),
        *("last_heartbeat_age_seconds", "dead_queue_depth"),
    },
}


async def test_status_shows_both_services(running: Running, auth_engine: AsyncEngine) -> None:
    await sign_up_many(auth_engine, 3)
    await eventually(lambda: _has_users(running.system, 3))

    near, far = [await _status(running.system, command) for command in STATUS]

    assert near.keys() == STATUS["auth-service status"]
    assert far.keys() == STATUS["blog-service status"]
    assert (near["unpublished"], near["relay"], near["trouble"]) == (0, "active", None)
    assert near["pipe"] in ("quiet", "publishing")  # a heartbeat may be in flight
    assert near["last_heartbeat"] >= 1
    assert (far["users"], far["users_deleted"], far["users_provisional"]) == (3, 0, 0)
    assert (far["parked_messages"], far["queue_depth"], far["dead_queue_depth"]) == (0, 0, 0)
    assert far["highest_version"] > 1_700_000_000_000_000
    for command, names in STATUS.items():
        lines = (await running.system.command(command)).stdout.splitlines()
        # The replica was never compared: it has no account at the source.
        code = 0 if command == "auth-service status" else 1
        checked = await running.system.command(f"{command} --check", code=code)
        assert len(checked.stdout.splitlines()) == len(lines)
        assert len(lines) == len(names)
        # Whether the replica is proved comes first, as a sentence.
        assert ("proof" in names) == lines[0].startswith("not proved")
        for name in names - {"proof"}:
            assert any(line.startswith(name.replace("_", " ")) for line in lines), name


async def test_status_shows_what_is_wrong(
    system: System, auth_engine: AsyncEngine, tmp_path: Path
) -> None:
    """Before any process runs: unpublished events, no relay, and no queue."""
    await sign_up_many(auth_engine, 1)

    near, far = [await _status(system, command) for command in STATUS]

    assert (near["unpublished"], near["relay"]) == (1, "none is active")
    assert near["pipe"] == "broken: no relay is active"
    assert near["oldest_unpublished_age_seconds"] > 0
    assert (far["queue_depth"], far["dead_queue_depth"]) == (None, None)
    assert (far["users"], far["highest_version"], far["last_heartbeat"]) == (0, None, None)
    for command in STATUS:
        for url in (NOWHERE, f"postgresql://postgres@/nowhere?host={tmp_path}", None):
            away = {"AUTH_DATABASE_URL": url, "BLOG_DATABASE_URL": url} if url else {}
            for option, code in (("", 1 if url else 0), (" --check", 2)):
                told = await system.command(command + option, code=code, **away)
                if url:
                    assert told.stdout == ""
                    assert "database" in told.stderr


async def test_a_relay_without_a_queue_is_reported(
    system: System, auth_engine: AsyncEngine
) -> None:
    relay = system.process("auth-service relay", AUTH_RETRY_SECONDS_MAX=0.5)
    consumer = system.process("blog-service consumer")
    await sign_up_many(auth_engine, 1)
    with ended(relay, consumer):
        relay.start()
        await eventually(lambda: _trouble(system, "no queue is bound"))
        await consumer.ready()
        await eventually(lambda: _has_users(system, 1))
        await eventually(lambda: _trouble(system, None))


async def _status(system: System, command: str) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((await system.command(f"{command} --json")).stdout)
    return figures


async def _has_users(system: System, users: int) -> bool:
    return await figure(system.blog_url, "SELECT count(*) FROM users") == users


async def _trouble(system: System, words: str | None) -> bool:
    condition = f"LIKE '%{words}%'" if words else "IS NULL"
    query = f"SELECT count(*) FROM source WHERE trouble {condition}"
    return await figure(system.auth_url, query) == 1
