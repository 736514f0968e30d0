"""The audit log: nobody can change it, and administrators read it."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.audit.model import ANONYMOUS, Action
from auth_service.audit.record import audit
from service_kit.process.actors import operator_actor, user_actor
from tests.support.auth_api import AuthApi, Signed, assert_problem
from tests.support.in_turn import in_turn
from tests.support.inbox import execute, fetch

AUDIT = "/v1/admin/audit"


@in_turn(
    "statement",
    [
        "UPDATE audit_log SET actor = 'nobody'",
        "UPDATE audit_log SET actor = 'nobody' WHERE false",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "INSERT INTO audit_log (id, action, actor) OVERRIDING SYSTEM VALUE"
        " VALUES (1, 'user_deleted', 'nobody')"
        " ON CONFLICT (id) DO UPDATE SET actor = excluded.actor",
    ],
)
async def test_the_database_itself_refuses_to_change_it(
    auth_engine: AsyncEngine, statement: str
) -> None:
    """Even with the service's own connection; an entry only goes with its transaction."""
    await written(auth_engine, 1)
    before = await fetch(auth_engine, "SELECT * FROM audit_log")
    with pytest.raises(DBAPIError, match="append-only"):
        await execute(auth_engine, statement)
    async with auth_engine.connect() as connection:
        await audit(connection, Action.USER_DELETED, actor="operator:test", subject=uuid4())
        await connection.rollback()
    assert await fetch(auth_engine, "SELECT * FROM audit_log") == before


def test_actors_never_share_a_name() -> None:
    same = uuid4()
    actors = {user_actor(same), operator_actor(str(same)), operator_actor(ANONYMOUS), ANONYMOUS}
    assert len(actors) == 4


async def test_it_is_read_from_the_newest_page_by_page(api: AuthApi, root: Signed) -> None:
    """Entries added in the meantime shift nothing."""
    there = [row.id for row in await written(api.engine, 10)]
    seen: list[int] = []
    cursor = None
    while True:
        parameters = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await api.ask(root, "GET", AUDIT, **parameters)).json()
        seen += [entry["id"] for entry in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        await written(api.engine, 2)

    assert seen == sorted(seen, reverse=True)
    assert [number for number in seen if number in there] == there[::-1]
    assert len(seen) == len(set(seen))


async def test_an_entry_says_who_did_what_when_in_which_request(api: AuthApi, root: Signed) -> None:
    user_id = uuid4()
    said: dict[str, Any] = {"actor": "operator:eve", "subject": user_id, "granted": ["a"]}
    async with api.engine.begin() as connection:
        await audit(connection, Action.ROLES_CHANGED, **said)

    entry = (await api.ask(root, "GET", AUDIT)).json()["items"][0]

    assert entry.pop("id") > 0
    assert entry.pop("occurred_at").endswith("Z")
    assert entry == {
        "action": "roles_changed",
        "actor": "operator:eve",
        "subject": str(user_id),
        "request_id": None,
        "details": {"granted": ["a"]},
    }


async def test_entries_of_one_subject_or_one_actor(api: AuthApi, root: Signed) -> None:
    async with api.engine.begin() as connection:
        for actor in ("operator:eve", "operator:eve2"):
            for subject in ("one", "other"):
                await audit(connection, Action.KEY_REVOKED, actor=actor, subject=subject)

    async def asked(**parameters: str) -> list[tuple[str, str]]:
        answer = await api.ask(root, "GET", AUDIT, **parameters)
        return [(entry["actor"], entry["subject"]) for entry in answer.json()["items"]]

    assert await asked(subject="one") == [("operator:eve2", "one"), ("operator:eve", "one")]
    assert await asked(actor="operator:eve") == [("operator:eve", "other"), ("operator:eve", "one")]
    assert await asked(actor="operator:eve", subject="one") == [("operator:eve", "one")]
    assert await asked(actor="operator:ev") == []


async def test_entries_of_one_action_and_of_a_time(api: AuthApi, root: Signed) -> None:
    """Together with the other conditions; the end of a time does not belong to it."""
    await written(api.engine, 3)
    [first, *_, last] = await api.fetch("SELECT id, occurred_at FROM audit_log ORDER BY id")
    since, until = first.occurred_at.isoformat(), last.occurred_at.isoformat()

    async def asked(**parameters: str) -> list[int]:
        answer = await api.ask(root, "GET", AUDIT, **parameters)
        return [entry["id"] for entry in answer.json()["items"]]

    assert first.id in await asked(since=since, until=until)
    assert last.id not in await asked(since=since, until=until)
    assert await asked(since=until) == [last.id]
    assert await asked(action="service_deleted") == []
    action = (await api.ask(root, "GET", AUDIT)).json()["items"][0]["action"]
    assert last.id in await asked(action=action, since=until)


@in_turn(
    ("name", "value"),
    [
        ("action", "no_such_action"),
        ("since", "yesterday"),
        ("until", "9999-12-31T23:59:59-23:59"),
        ("cursor", "x"),
        ("cursor", "gAAAAAAAAAA"),  # a negative number
        ("cursor", "dE2dnhmTTnOfKY-Cuf3oPQ"),  # a user's
        ("limit", "101"),
        ("actor", "a" * 257),
        ("subject", "a\x00"),
    ],
)
async def test_a_bad_filter_is_refused(api: AuthApi, root: Signed, name: str, value: str) -> None:
    answer = await api.ask(root, "GET", AUDIT, **{name: value})
    assert_problem(answer, 422, "invalid_request")


async def written(engine: AsyncEngine, count: int) -> list[Any]:
    async with engine.begin() as connection:
        for _ in range(count):
            await audit(connection, Action.KEY_GENERATED, actor="operator:test", subject="key")
    rows = await fetch(engine, "SELECT id FROM audit_log WHERE subject = 'key' ORDER BY id")
    return rows[-count:]
