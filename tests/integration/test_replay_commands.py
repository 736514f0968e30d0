"""``auth-service replay …``, as operators and their scripts use it."""

import json
import re
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.process.actors import operator
from tests.support.inbox import execute, fetch
from tests.support.processes import AuthCommand
from tests.support.replaying import fill
from tests.support.source import Source

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def replay(auth_command: AuthCommand) -> AuthCommand:
    return lambda arguments, *typed, **more: auth_command(f"replay {arguments}", *typed, **more)


async def as_json(replay: AuthCommand, arguments: str) -> dict[str, Any]:
    ended = await replay(f"{arguments} --json")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("\n") == 1
    figures: dict[str, Any] = json.loads(ended.stdout)
    return figures


async def test_a_replay_is_planned_started_paused_resumed_and_cancelled(
    replay: AuthCommand, auth_engine: AsyncEngine
) -> None:
    await fill(auth_engine, 7)
    conditions = "start --to blog --from-position 3 --type user.created --rate 5"
    plan = await as_json(replay, f"{conditions} --dry-run")
    nothing = await as_json(replay, "list")
    made = await as_json(replay, conditions)
    steps = [await as_json(replay, f"{verb} {made['id']}") for verb in ("pause", "resume")]
    listed = await as_json(replay, "list")
    cancelled = await replay(f"cancel {made['id']}")
    shown = await as_json(replay, f"show {made['id']}")
    over = await replay(f"resume {made['id']}")

    assert (plan["events"], plan["seconds"], plan["erased_users"]) == (5, 1.0, 0)
    assert nothing == {"items": []}
    assert (made["state"], made["expected"], made["requested_by"]) == ("running", 5, operator())
    assert "empty replica" in made["warning"]
    assert [step["state"] for step in steps] == ["paused", "running"]
    assert [item["id"] for item in listed["items"]] == [made["id"]]
    assert (cancelled.returncode, shown["state"]) == (0, "cancelled")
    assert (over.returncode, over.stdout) == (1, "")
    assert "cancelled" in over.stderr
    rows = await fetch(auth_engine, "SELECT action, actor FROM audit_log ORDER BY id")
    done = ("started", "paused", "resumed", "cancelled")
    assert [(row.action, row.actor) for row in rows] == [
        (f"replay_{each}", operator()) for each in done
    ]


async def test_people_get_a_figure_per_line(replay: AuthCommand, auth_engine: AsyncEngine) -> None:
    """A replay's line includes its trouble."""
    await fill(auth_engine, 7)
    plan = await replay("start --to blog --dry-run --since 2020-01-01 --until 2099-01-01T00:00Z")
    made = await replay("start --to blog")
    await execute(auth_engine, "UPDATE replays SET trouble = 'no queue'")
    listed = await replay("list")

    figures = dict(re.split("  +", line, maxsplit=1) for line in plan.stdout.splitlines())
    assert (figures["events"], figures["user.created"], figures["users"]) == ("7", "7", "all")
    assert figures["since"] == "2020-01-01 00:00:00Z"
    assert "running" in made.stdout
    [line] = listed.stdout.splitlines()
    assert line.endswith("blog  running  0 of 7  no queue")


async def test_a_refusal_is_one_sentence(replay: AuthCommand, auth_engine: AsyncEngine) -> None:
    """Exit code 1 or 2, nothing on standard output, no traceback, no replay."""
    await fill(auth_engine, 7)
    await execute(auth_engine, "UPDATE source SET pruned_position = 3")
    refused = [
        (await replay(arguments), code, sentence)
        for arguments, code, sentence in (
            ("start --to blog", 1, "--current-state"),
            ("start --to blog --current-state --from-position 5", 1, "filtered by user only"),
            ("start --to Blog --from-position 5", 1, "name"),
            ("start --to blog --since yesterday", 2, "2026-01-31T12:00:00Z"),
            (f"show {UNKNOWN_ID}", 1, "no replay"),
        )
    ]

    for ended, code, sentence in refused:
        assert (ended.returncode, ended.stdout) == (code, "")
        assert sentence in ended.stderr
        assert "Traceback" not in ended.stderr
    assert await fetch(auth_engine, "SELECT 1 FROM replays") == []


async def test_any_number_of_users_come_from_standard_input(
    replay: AuthCommand, auth_engine: AsyncEngine
) -> None:
    """Each thousand of them is a replay; an empty list does not mean everybody."""
    await fill(auth_engine, 3)
    rows = await fetch(auth_engine, "SELECT user_id FROM outbox_events")
    known = [str(row.user_id) for row in rows]
    typed = "\n".join([*(str(uuid4()) for _ in range(1200)), *known])
    start = "start --to blog --user -"

    planned = await replay(f"{start} --dry-run --json", typed)
    none = await replay(start)
    started = await replay(f"{start} --json", typed)

    assert (none.returncode, none.stdout) == (1, "")
    assert "nothing was started" in none.stderr
    plans, replays = (
        [json.loads(line) for line in ended.stdout.splitlines()] for ended in (planned, started)
    )
    assert [len(plan["users"]) for plan in plans] == [1000, 203]
    assert [each["expected"] for each in replays] == [0, 3]
    rows = await fetch(auth_engine, "SELECT user_ids FROM replays ORDER BY created_at")
    assert [str(each) for row in rows for each in row.user_ids] == typed.splitlines()


async def test_a_consumer_without_a_queue_is_refused_unless_wait_is_given(
    replay: AuthCommand, auth_engine: AsyncEngine, amqp_url: str, source: Source, unused_port: int
) -> None:
    """The name may be mistyped. A broker that is away refuses no consumer."""
    await fill(auth_engine, 1)
    await source.channel.queue_declare("blog.users.replay", durable=True)
    here = partial(replay, AUTH_AMQP_URL=amqp_url)

    refused = await here("start --to nosuch")
    listed = await fetch(auth_engine, "SELECT consumer FROM replays")
    made = [
        await here("start --to nosuch --wait"),
        await here("start --to blog"),
        await replay("start --to nosuch", AUTH_AMQP_URL=f"amqp://127.0.0.1:{unused_port}/"),
    ]

    assert (refused.returncode, listed) == (1, [])
    assert "no consumer 'nosuch' has a queue for replays (nosuch.users.replay)" in refused.stderr
    assert [each.returncode for each in made] == [0, 0, 0]
