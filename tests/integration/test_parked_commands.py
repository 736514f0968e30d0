"""Test ``blog-service parked …`` as operators and scripts use it."""

import os
import re
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.events import Beat
from service_kit.process.actors import operator
from tests.support.builders import a_state, a_tombstone, an_event
from tests.support.commands import Command
from tests.support.inbox import (
    accept_writes,
    apply_events,
    fetch,
    parked,
    refuse_writes,
    replica,
    slow_down_writes,
)
from tests.support.parked_messages import (
    UNTIL_NOW,
    a_delivery,
    park_deliveries,
    park_events,
    rubbish,
)

OUTCOMES = ("applied", "unchanged", "stale", "tombstoned", "parked")


async def as_json(command: Command, arguments: str, code: int = 0) -> dict[str, Any]:
    ended = await command(f"parked {arguments} --json")
    assert ended.returncode == code, ended.stderr
    return ended.figures


async def test_list_shows_messages_newest_first(command: Command, blog_engine: AsyncEngine) -> None:
    state = a_state()
    ids = await park_deliveries(blog_engine, a_delivery(an_event(state)), rubbish())

    ended = await command("parked list")
    listed = await as_json(command, "list")

    newest, oldest = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert oldest.split()[0] == str(ids[0])
    for part in (*UNTIL_NOW, "user.updated", str(state.id), "1x"):
        assert part in oldest
    assert newest.split()[0] == str(ids[1])
    assert "example.org" not in ended.stdout
    assert listed["next_before"] is None
    assert [item["id"] for item in listed["items"]] == ids[::-1]
    assert listed["items"][1]["user_id"] == str(state.id)


async def test_list_continues_before_an_id(command: Command, blog_engine: AsyncEngine) -> None:
    ids = await park_deliveries(blog_engine, *(rubbish(b"%d" % number) for number in range(3)))
    [other] = await park_deliveries(blog_engine, rubbish(b"other"), reason="too_large")

    begin = await command("parked list --limit 2")
    rest = await as_json(command, f"list --limit 2 --before {ids[2]}")
    narrow = await as_json(command, "list --reason too_large")

    assert [line.split()[0] for line in begin.stdout.splitlines()] == [str(other), str(ids[2])]
    assert begin.stderr == f"more messages: use --before {ids[2]}\n"
    assert ([item["id"] for item in rest["items"]], rest["next_before"]) == (ids[1::-1], None)
    assert [item["id"] for item in narrow["items"]] == [other]


async def test_show_has_the_whole_message(command: Command, blog_engine: AsyncEngine) -> None:
    """Until its user is deleted: then it says that the body was erased."""
    state = a_state(email="ada@example.org")
    event = an_event(state)
    [parked_id] = await park_deliveries(blog_engine, a_delivery(event, headers={"odd": b"\xff"}))

    ended = await command(f"parked show {parked_id}")
    shown = await as_json(command, f"show {parked_id}")

    assert (ended.returncode, ended.stderr) == (0, "")
    for part in (*UNTIL_NOW, str(event.id), "ada@example.org", '{"$bytes": "/w=="}', "utf-8"):
        assert part in ended.stdout
    assert shown["headers"]["cloudEvents_id"] == str(event.id)
    assert "ada@example.org" in shown["body"]

    await apply_events(blog_engine, a_tombstone(state.id))
    ended = await command(f"parked show {parked_id}")
    assert "body erased" in ended.stdout
    assert "ada@example.org" not in ended.stdout
    assert (await as_json(command, f"show {parked_id}"))["erased"]
    assert "(erased)" in (await command("parked list")).stdout


async def test_show_hands_the_terminal_nothing_that_it_would_obey(
    command: Command, blog_engine: AsyncEngine
) -> None:
    """Otherwise a publisher could forge what the operator reads."""
    headers = {"cloudEvents_type": "\x1b[31muser.updated", "\x9bname": "\x1b"}
    body = "\x1b[2Jall is well\u202e".encode()
    delivery = a_delivery(an_event(a_state()), body=body, headers=headers)
    [parked_id] = await park_deliveries(blog_engine, delivery)

    shown = ("list", f"show {parked_id}")
    texts = [(await command(f"parked {arguments}")).stdout for arguments in shown]

    assert "all is well" in texts[1]
    for text in texts:
        assert "user.updated" in text
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)


async def test_redriving_some_reports_each(command: Command, blog_engine: AsyncEngine) -> None:
    same = a_state()
    await apply_events(blog_engine, same)
    ids = await park_events(blog_engine, *(an_event(data) for data in (a_state(), same, a_state())))

    ended = await command(f"parked redrive {ids[0]} {ids[1]}")

    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[:2] == [f"{ids[0]}  applied", f"{ids[1]}  unchanged"]
    assert [line.split() for line in lines[2:]] == [
        [outcome, "1" if outcome in ("applied", "unchanged") else "0"] for outcome in OUTCOMES
    ]
    assert [row.id for row in await parked(blog_engine)] == [ids[2]]


async def test_redrive_ends_with_1_if_some_stay(command: Command, blog_engine: AsyncEngine) -> None:
    assert await as_json(command, "redrive --all") == dict.fromkeys(OUTCOMES, 0)
    [bad, _] = await park_deliveries(blog_engine, rubbish(), a_delivery(an_event(a_state())))
    ended = await command("parked redrive --all")
    counts = await as_json(command, "redrive --all", code=1)
    assert ended.returncode == 1
    assert f"{bad}  parked  not_a_cloud_event: no CloudEvents 1.0 headers\n" in ended.stdout
    assert counts == dict.fromkeys(OUTCOMES, 0) | {"parked": 1}
    assert [row.attempts for row in await parked(blog_engine)] == [3]


async def test_logs_of_an_applied_event_do_not_mix_with_the_result(
    command: Command, blog_engine: AsyncEngine
) -> None:
    """A heartbeat that shows a gap logs to stderr; stdout still has one object."""
    await apply_events(blog_engine, Beat(number=1))
    await park_deliveries(blog_engine, a_delivery(an_event(Beat(number=7))))
    ended = await command("parked redrive --all --json")
    assert "heartbeat.suspicion" in ended.stderr
    assert ended.figures["applied"] == 1


async def test_redrive_skips_an_unknown_id(command: Command, blog_engine: AsyncEngine) -> None:
    [parked_id] = await park_events(blog_engine, an_event(a_state()))
    ended = await command(f"parked redrive 4711 {parked_id}")
    unknown = "no message 4711 is parked; list them with `parked list`\n"
    assert (ended.returncode, ended.stderr) == (1, unknown)
    assert f"{parked_id}  applied" in ended.stdout
    for arguments in ("show 4711", "discard 4711 --because unknown"):
        ended = await command(f"parked {arguments}")
        assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", unknown)


async def test_redrive_needs_either_ids_or_all(command: Command) -> None:
    for arguments in ("redrive", "redrive 1 --all", "redrive 0", "show x"):
        ended = await command(f"parked {arguments}")
        assert (ended.returncode, ended.stdout) == (2, ""), arguments


async def test_redrive_without_a_database_says_so_and_changes_nothing(
    command: Command, blog_engine: AsyncEngine, tmp_path: Path
) -> None:
    """Away or refusing: exit code 1, one message, no attempt counted."""
    await park_events(blog_engine, an_event(a_state()))
    before = await parked(blog_engine)
    nowhere = f"postgresql://postgres@/nowhere?host={tmp_path}"

    away = await command("parked redrive --all", BLOG_DATABASE_URL=nowhere)
    await refuse_writes(blog_engine, "53100")
    full = await command("parked redrive --all")

    for ended in (away, full):
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr.startswith("the database cannot be used")
        assert "Traceback" not in ended.stderr
    assert await parked(blog_engine) == before
    await accept_writes(blog_engine)
    assert (await command("parked redrive --all")).returncode == 0


async def test_long_work_shows_progress(command: Command, blog_engine: AsyncEngine) -> None:
    """After two seconds, on stderr, with rate and time left."""
    await park_events(blog_engine, *(an_event(a_state()) for _ in range(30)))
    await slow_down_writes(blog_engine, 0.1)

    ended = await command("parked redrive --all --json")

    assert re.search(r"^redriving: \d+ of 30, \d+ a second, \d+ s left$", ended.stderr, re.M)
    assert ended.figures["applied"] == 30


async def test_discard_leaves_a_note(command: Command, blog_engine: AsyncEngine) -> None:
    """Who, why and the original reason; the message and its content are gone."""
    state = a_state()
    [parked_id] = await park_events(blog_engine, an_event(state))

    ended = await command(f"parked discard {parked_id} --because 'sent by a test'")

    assert (ended.returncode, ended.stdout) == (0, f"{parked_id}  discarded\n"), ended.stderr
    again = await command(f"parked discard {parked_id} --because 'sent by a test' --json")
    assert (again.returncode, again.figures) == (1, {"discarded": 0, "unknown": 1})
    assert await parked(blog_engine) == []
    assert state.id not in await replica(blog_engine)
    [note] = await fetch(blog_engine, "SELECT * FROM discarded_messages")
    assert (note.id, note.user_id, note.parked_for) == (parked_id, state.id, UNTIL_NOW[0])
    assert (note.because, note.discarded_by) == ("sent by a test", operator())


async def test_discard_needs_a_reason(command: Command, blog_engine: AsyncEngine) -> None:
    [parked_id] = await park_deliveries(blog_engine, rubbish())
    for because, code, words in [
        ("--because ' '", 1, "give a reason"),
        (f"--because {'x' * 501}", 1, "give a reason"),
        ("--because " + os.fsdecode(b"\xff"), 1, "give a reason"),
        ("", 2, "--because"),
    ]:
        ended = await command(f"parked discard {parked_id} {because}")
        assert (ended.returncode, ended.stdout) == (code, ""), ascii(because)
        assert words in ended.stderr
    assert len(await parked(blog_engine)) == 1


async def test_lists_of_any_length_are_redriven_and_discarded(
    command: Command, blog_engine: AsyncEngine
) -> None:
    ids = await park_events(blog_engine, an_event(a_state()), an_event(a_state()))
    many = [rubbish(str(number).encode()) for number in range(1100)]
    rubbish_ids = await park_deliveries(blog_engine, *many, reason="not_a_cloud_event")
    all_listed = await command("parked list --ids")
    rubbish_listed = await command("parked list --ids --reason not_a_cloud_event")

    discarded = await command("parked discard - --because 'sent by a test'", rubbish_listed.stdout)
    redriven = await command("parked redrive - --json", all_listed.stdout)

    newest_first = [str(each) for each in sorted([*ids, *rubbish_ids], reverse=True)]
    assert all_listed.stdout.splitlines() == newest_first
    assert rubbish_listed.stdout.splitlines() == newest_first[:1100]
    assert discarded.returncode == 0, discarded.stderr
    assert discarded.stdout.splitlines() == [f"{each}  discarded" for each in newest_first[:1100]]
    assert redriven.returncode == 1
    assert redriven.figures["applied"] == 2
    assert redriven.stderr.count("is parked") == 1100
    assert await parked(blog_engine) == []


async def test_other_input_discards_nothing(command: Command, blog_engine: AsyncEngine) -> None:
    """All of standard input is read and checked first."""
    await park_deliveries(blog_engine, rubbish())
    for typed in ("1 x", "0", "1 9007199254740992", "²"):
        ended = await command("parked discard - --because 'sent by a test'", typed)
        assert (ended.returncode, ended.stdout) == (1, ""), typed
        assert "is not a number from 1 to" in ended.stderr
    assert len(await parked(blog_engine)) == 1
