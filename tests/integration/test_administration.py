"""Administration over HTTP: who may do it, what it does, and what it logs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.accounts.administer import administer
from auth_service.accounts.delete import delete_by
from auth_service.users.model import LastAdministrator
from tests.support.auth_api import AuthApi, Signed, assert_problem, bearer, signed_up
from tests.support.eventually import eventually
from tests.support.in_turn import in_turn
from tests.support.inbox import execute, fetch
from tests.support.locks import lock_waits
from tests.support.relaying import outbox

USERS = "/v1/admin/users"
USER = {"id", "email", "email_verified", "roles", "status", "version", "created_at", "updated_at"}
NOBODY = "00000000-0000-4000-8000-000000000000"

ACTIVE_ADMINISTRATORS = (
    "SELECT count(*) AS remaining FROM users WHERE status = 'active' AND roles @> '{admin}'"
)


@pytest.fixture
async def ada(api: AuthApi) -> Signed:
    return await signed_up(api, "ada@example.org")


class TestWhoMay:
    """Users whose row has the role at that moment."""

    REQUESTS = (
        ("GET", USERS, None),
        ("GET", f"{USERS}/{NOBODY}", None),
        ("PATCH", f"{USERS}/{NOBODY}", {"roles": ["admin"]}),
        ("DELETE", f"{USERS}/{NOBODY}", None),
        ("GET", "/v1/admin/audit", None),
    )

    @in_turn(("method", "path", "body"), REQUESTS)
    async def test_nobody_else(
        self, api: AuthApi, ada: Signed, method: str, path: str, body: object
    ) -> None:
        """401 without a token, 403 without the role, whether or not the user exists."""
        unknown = await api.request(method, path, json=body)
        known = await api.request(method, path, json=body, headers=bearer(ada))
        assert_problem(unknown, 401, "authentication_required")
        assert_problem(known, 403, "forbidden")

    async def test_a_demoted_administrator_is_refused_at_once(
        self, api: AuthApi, root: Signed, ada: Signed
    ) -> None:
        """The row decides, in both directions, though a token says otherwise until it expires."""
        await patch(api, root, ada, roles=["admin"])
        before = await api.get(USERS, headers=bearer(ada))
        administrator = (await api.sign_in()).json()
        await patch(api, root, ada, roles=[])
        after = await api.get(USERS, headers=bearer(administrator))
        assert (administrator["user"]["roles"], before.status_code) == (["admin"], 200)
        assert_problem(after, 403, "forbidden")


class TestFinding:
    """``GET /v1/admin/users``, ``GET /v1/admin/users/{id}``."""

    async def test_a_user_is_shown_as_to_themselves(
        self, api: AuthApi, root: Signed, ada: Signed
    ) -> None:
        answer = await api.get(f"{USERS}/{ada['user']['id']}", headers=bearer(root))
        assert answer.status_code == 200
        assert answer.json() == ada["user"]
        assert answer.json().keys() == USER

    async def test_pages_hold_each_user_once_while_others_come_and_go(
        self, api: AuthApi, root: Signed
    ) -> None:
        """A user who exists from the first page to the last is on exactly one of them."""
        there = {root["user"]["id"]} | await add_users(api, 3)
        full = (await api.get(USERS, params={"limit": 4}, headers=bearer(root))).json()
        assert (len(full["items"]), full["next_cursor"]) == (4, None)
        there |= await add_users(api, 22)
        gone = sorted(there - {root["user"]["id"]})[3]
        seen: list[str] = []
        params: dict[str, Any] = {"limit": 4}
        while True:
            page = (await api.get(USERS, params=params, headers=bearer(root))).json()
            assert page.keys() == {"items", "next_cursor"}
            assert 1 <= len(page["items"]) <= 4
            seen += [item["id"] for item in page["items"]]
            params["cursor"] = page["next_cursor"]
            if page["next_cursor"] is None:
                break
            await add_users(api, 2)
            if gone in seen:
                await api.delete(f"{USERS}/{gone}", headers=bearer(root))

        assert len(seen) == len(set(seen))
        assert there <= set(seen)

    async def test_by_address_in_any_spelling(
        self, api: AuthApi, root: Signed, ada: Signed
    ) -> None:
        found, none, bad = [
            await api.get(USERS, params={"email": email}, headers=bearer(root))
            for email in ("ADA@Example.org", "da@example.org", "ada")
        ]

        assert found.json() == {"items": [ada["user"]], "next_cursor": None}
        assert none.json() == {"items": [], "next_cursor": None}
        assert_problem(bad, 422, "invalid_email")

    @in_turn(
        ("name", "value"),
        [
            *(("cursor", bad) for bad in ("", "x", "AAAAAAAAAAU", NOBODY, "A" * 21, "A" * 23)),
            *(("cursor", bad) for bad in ("é", "\x00", "A" * 5000)),
            *(("limit", bad) for bad in ("0", "101", "-1", "x")),
        ],
    )
    async def test_a_bad_page_is_refused(
        self, api: AuthApi, root: Signed, name: str, value: str
    ) -> None:
        """422, never the first page; and nobody can request the whole table at once."""
        answer = await api.get(USERS, params={name: value}, headers=bearer(root))
        document = assert_problem(answer, 422, "invalid_request")
        assert document["errors"][0]["pointer"].startswith(f"/query/{name}")

    async def test_a_deleted_user_is_not_found(
        self, api: AuthApi, root: Signed, ada: Signed
    ) -> None:
        path = f"{USERS}/{ada['user']['id']}"
        deleted = await api.delete(path, headers=bearer(root))

        after = [
            await api.get(path, headers=bearer(root)),
            await api.patch(path, json={"status": "active"}, headers=bearer(root)),
            await api.delete(path, headers=bearer(root)),
            await api.get(f"{USERS}/{NOBODY}", headers=bearer(root)),
        ]
        listed = await api.get(USERS, headers=bearer(root))
        by_address = await api.get(USERS, params={"email": "ada@example.org"}, headers=bearer(root))

        assert deleted.status_code == 204
        for answer in after:
            assert_problem(answer, 404, "not_found")
        assert [user["email"] for user in listed.json()["items"]] == ["root@example.org"]
        assert by_address.json()["items"] == []


class TestChanging:
    """``PATCH /v1/admin/users/{id}``."""

    async def test_roles_are_kept_sorted_and_once(
        self, api: AuthApi, root: Signed, ada: Signed
    ) -> None:
        answer = await patch(api, root, ada, roles=["writer", "editor", "writer"])

        assert answer.status_code == 200
        changed = answer.json()
        assert changed["roles"] == ["editor", "writer"]
        assert changed["version"] > ada["user"]["version"]
        *_, event = await events_of(api, ada)
        assert (event.type, event.version) == ("user.updated", changed["version"])
        assert event.payload["roles"] == ["editor", "writer"]
        assert event.payload["tokens_valid_after"] is None

    async def test_disabling_ends_sessions_and_refuses_tokens(
        self, api: AuthApi, root: Signed, ada: Signed
    ) -> None:
        """Here at once; the event tells other services since when. Enabling restores no token."""
        changed = (await patch(api, root, ada, status="disabled")).json()
        assert_problem(await api.me(ada), 403, "account_disabled")
        assert_problem(await api.sign_in(), 403, "account_disabled")
        assert_problem(await api.sign_in(password="wrong"), 401, "invalid_credentials")
        assert changed["status"] == "disabled"
        [session] = await sessions(api, ada)
        assert session.end_reason == "disabled"
        *_, event = await events_of(api, ada)
        valid_after = datetime.fromisoformat(event.payload["tokens_valid_after"])
        assert event.payload["status"] == "disabled"
        assert session.ended_at < valid_after <= session.ended_at + timedelta(seconds=2)
        assert valid_after.microsecond == 0

        enabled = await patch(api, root, ada, status="active")
        assert enabled.json()["status"] == "active"
        assert_problem(await api.me(ada), 401, "invalid_token")
        sign_in = await api.sign_in()
        assert (sign_in.status_code, (await api.me(sign_in.json())).status_code) == (200, 200)

    async def test_both_are_one_change(self, api: AuthApi, root: Signed, ada: Signed) -> None:
        await patch(api, root, ada, roles=["editor"], status="disabled")

        events = await events_of(api, ada)
        entries = await audit(api, ada)
        assert [event.type for event in events] == ["user.created", "user.updated"]
        state = events[-1].payload
        assert (state["roles"], state["status"]) == (["editor"], "disabled")
        assert [entry.action for entry in entries][-2:] == ["roles_changed", "user_disabled"]

    async def test_concurrent_changes_are_all_kept(
        self, auth_engine: AsyncEngine, ada: Signed
    ) -> None:
        """A change reads the user only after it has locked the row."""
        user_id = UUID(ada["user"]["id"])
        async with auth_engine.begin() as connection:
            await connection.execute(text("UPDATE users SET roles = '{editor}'"))
            disabling = asyncio.create_task(
                administer(auth_engine, user_id, actor="operator:test", status="disabled")
            )
            await eventually(lambda: lock_waits(auth_engine, "transactionid"))

        changed = await disabling
        assert (changed.roles, changed.status) == (("editor",), "disabled")

    @in_turn(
        "same",
        [{}, {"roles": ["b", "a", "b"]}, {"status": "active"}, {"roles": None, "status": None}],
    )
    async def test_a_change_that_changes_nothing_records_nothing(
        self, api: AuthApi, root: Signed, ada: Signed, same: dict[str, Any]
    ) -> None:
        first = (await patch(api, root, ada, roles=["a", "b"])).json()
        before = await traces(api, ada)
        assert (await patch(api, root, ada, **same)).json() == first
        assert await traces(api, ada) == before

    @in_turn(
        "body",
        [
            *({"roles": [role]} for role in ("Admin", "", "1st", "a\n", "a b", "é", "a" * 65)),
            {"roles": [f"r{n}" for n in range(33)]},
            {"roles": "admin"},
            {"status": "deleted"},
            {"status": "provisional"},
            {"email": "eve@example.org"},
            {"version": 1},
            [],
        ],
    )
    async def test_other_forms_are_refused(
        self, api: AuthApi, root: Signed, ada: Signed, body: Any
    ) -> None:
        path = f"{USERS}/{ada['user']['id']}"
        answer = await api.patch(path, json=body, headers=bearer(root))
        assert_problem(answer, 422, "invalid_request")
        assert (await api.get(path, headers=bearer(root))).json() == ada["user"]


class TestTheLastAdministrator:
    """They can neither be demoted, disabled nor deleted, by themselves or by others."""

    CHANGES: tuple[dict[str, Any] | None, ...] = (
        {"roles": []},
        {"roles": ["editor"]},
        {"status": "disabled"},
        None,
    )

    async def test_stays(self, api: AuthApi, root: Signed, ada: Signed) -> None:
        """409, nothing recorded; a disabled administrator does not count as another."""
        await patch(api, root, ada, roles=["admin"])
        await patch(api, root, ada, status="disabled")
        before = await traces(api, root)

        for change in self.CHANGES:
            answer = await take_away(api, root, root, change)
            assert_problem(answer, 409, "last_administrator")
        assert_problem(await api.delete_me(root), 409, "last_administrator")

        assert await traces(api, root) == before
        assert (await api.get(USERS, headers=bearer(root))).status_code == 200
        other_roles = await patch(api, root, root, roles=["admin", "operator"])
        assert other_roles.status_code == 200

    async def test_goes_when_there_is_another(
        self, api: AuthApi, root: Signed, ada: Signed
    ) -> None:
        for change in self.CHANGES:
            await api.execute("UPDATE users SET roles = '{admin}', status = 'active'")
            session = (await api.sign_in("root@example.org")).json()
            answer = await take_away(api, session, root, change)
            assert answer.status_code in (200, 204), change
        assert ada

    async def test_an_administrator_who_is_disabled_is_demoted_and_deleted(
        self, api: AuthApi, root: Signed, ada: Signed
    ) -> None:
        await patch(api, root, ada, roles=["admin"])
        await patch(api, root, ada, status="disabled")
        demoted = await patch(api, root, ada, roles=[])
        await patch(api, root, ada, roles=["admin"])
        deleted = await api.delete(f"{USERS}/{ada['user']['id']}", headers=bearer(root))
        assert (demoted.status_code, deleted.status_code) == (200, 204)

    async def test_of_two_who_remove_each_other_one_remains(
        self, auth_engine: AsyncEngine, root: Signed, ada: Signed
    ) -> None:
        """In twenty rounds, by demotion, disabling and deletion: one of the two always remains."""
        ids = [UUID(each["user"]["id"]) for each in (root, ada)]
        for number in range(20):
            await execute(auth_engine, "UPDATE users SET roles = '{admin}', status = 'active'")

            ends = await asyncio.gather(
                *(taken_away(auth_engine, user_id, number) for user_id in ids),
                return_exceptions=True,
            )

            [left] = await fetch(auth_engine, ACTIVE_ADMINISTRATORS)
            assert left.remaining == 1
            assert [type(end) for end in ends if end] == [LastAdministrator]


class TestAudit:
    async def test_each_action_names_actor_and_request(
        self, api: AuthApi, root: Signed, ada: Signed
    ) -> None:
        actor = f"user:{root['user']['id']}"
        expected = []
        for action, change, details in (
            ("roles_changed", {"roles": ["b", "a"]}, {"granted": ["a", "b"], "revoked": []}),
            ("roles_changed", {"roles": ["b", "c"]}, {"granted": ["c"], "revoked": ["a"]}),
            ("user_disabled", {"status": "disabled"}, None),
            ("user_enabled", {"status": "active"}, None),
            ("user_deleted", None, None),
        ):
            answer = await take_away(api, root, ada, change)
            assert answer.status_code in (200, 204)
            expected.append((action, actor, answer.headers["X-Request-ID"], details))

        entries = await audit(api, ada)

        found = [(e.action, e.actor, e.request_id, e.details) for e in entries][-5:]
        assert found == expected
        assert len({request_id for _, _, request_id, _ in found}) == 5

    async def test_no_entry_without_its_action_and_no_action_without_its_entry(
        self, api: AuthApi, root: Signed, ada: Signed
    ) -> None:
        """One transaction: if either cannot be written, neither is."""
        before = await traces(api, ada)
        for table in ("audit_log", "outbox_events"):
            async with refusing(api, table):
                answers = [
                    await patch(api, root, ada, roles=["editor"]),
                    await patch(api, root, ada, status="disabled"),
                    await api.delete(f"{USERS}/{ada['user']['id']}", headers=bearer(root)),
                ]

            assert [answer.status_code for answer in answers] == [500] * 3, table
            assert await traces(api, ada) == before
            me = await api.me(ada)
            assert me.json() == ada["user"]

        assert (await patch(api, root, ada, roles=["editor"])).status_code == 200


async def patch(api: AuthApi, caller: Signed, user: Signed, **changes: Any) -> httpx.Response:
    return await api.patch(f"{USERS}/{user['user']['id']}", json=changes, headers=bearer(caller))


async def take_away(
    api: AuthApi, caller: Signed, user: Signed, change: dict[str, Any] | None
) -> httpx.Response:
    if change is not None:
        return await patch(api, caller, user, **change)
    return await api.delete(f"{USERS}/{user['user']['id']}", headers=bearer(caller))


async def taken_away(engine: AsyncEngine, user_id: UUID, number: int) -> None:
    """Demote or disable the user or, in the last of twenty rounds, delete them."""
    if number == 19:
        await delete_by(engine, user_id, actor="operator:test")
    elif number % 2:
        await administer(engine, user_id, actor="operator:test", status="disabled")
    else:
        await administer(engine, user_id, actor="operator:test", roles=[])


async def add_users(api: AuthApi, count: int) -> set[str]:
    before = {row.id for row in await api.fetch("SELECT id::text FROM users")}
    await api.execute(
        "INSERT INTO users (email, password_hash, version)"
        f" SELECT gen_random_uuid() || '@example.org', 'x', 1 FROM generate_series(1, {count})"
    )
    return {row.id for row in await api.fetch("SELECT id::text FROM users")} - before


async def events_of(api: AuthApi, user: Signed) -> list[Row[Any]]:
    return await outbox(api.engine, UUID(user["user"]["id"]))


async def sessions(api: AuthApi, user: Signed) -> list[Row[Any]]:
    return await api.fetch(f"SELECT * FROM sessions WHERE user_id = '{user['user']['id']}'")


async def audit(api: AuthApi, user: Signed) -> list[Row[Any]]:
    query = f"SELECT * FROM audit_log WHERE subject = '{user['user']['id']}' ORDER BY id"
    return await api.fetch(query)


async def traces(api: AuthApi, user: Signed) -> tuple[list[Any], list[Any]]:
    """The versions of the user's events, and the ids of the entries about them."""
    events = [row.version for row in await events_of(api, user)]
    return events, [row.id for row in await audit(api, user)]


@asynccontextmanager
async def refusing(api: AuthApi, table: str) -> AsyncIterator[None]:
    """Make a table refuse inserts inside the block."""
    await api.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE integrity_constraint_violation; END $$",
        f"CREATE TRIGGER refuse BEFORE INSERT ON {table} EXECUTE FUNCTION refuse()",
    )
    yield
    await api.execute(f"DROP TRIGGER refuse ON {table}", "DROP FUNCTION refuse")
