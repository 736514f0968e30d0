"""Administration over HTTP: who may do it, what it does, and what it logs."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.accounts.administer import administer
from auth_service.accounts.delete import delete_by
from auth_service.users.model import LastAdministrator
from tests.support.auth_api import ADA, AuthApi, Signed, assert_problem, statuses
from tests.support.in_turn import in_turn
from tests.support.locks import after_waiting
from tests.support.relaying import outbox
from tests.support.statements import refusing

USERS = "/v1/admin/users"
USER = {"id", "email", "email_verified", "roles", "status", "version", "created_at", "updated_at"}
NOBODY = "00000000-0000-4000-8000-000000000000"
OPERATOR = "operator:test"

ADMINISTRATORS = "SELECT id FROM users WHERE status = 'active' AND roles @> '{admin}'"


@dataclass(frozen=True)
class Office:
    """The only administrator, and a user."""

    api: AuthApi
    root: Signed
    ada: Signed

    @property
    def path(self) -> str:
        """The path of the user."""
        return f"{USERS}/{self.ada['user']['id']}"

    @property
    def ada_id(self) -> UUID:
        return UUID(self.ada["user"]["id"])

    async def ask(
        self, method: str, path: str = USERS, body: Any = None, **params: Any
    ) -> httpx.Response:
        """Send a request of the administrator."""
        return await self.api.ask(self.root, method, path, body, **params)

    async def page(self, **params: Any) -> dict[str, Any]:
        page: dict[str, Any] = (await self.ask("GET", **params)).json()
        return page

    async def patch(self, user: Signed | None = None, **changes: Any) -> httpx.Response:
        """Change the user, or another one."""
        return await self.ask("PATCH", f"{USERS}/{(user or self.ada)['user']['id']}", changes)

    async def delete(self) -> httpx.Response:
        return await self.ask("DELETE", self.path)

    async def events(self) -> list[Row[Any]]:
        return await outbox(self.api.engine, self.ada_id)

    async def audit(self, user: Signed | None = None) -> list[Row[Any]]:
        user_id = (user or self.ada)["user"]["id"]
        query = f"SELECT * FROM audit_log WHERE subject = '{user_id}' ORDER BY id"
        return await self.api.fetch(query)

    async def traces(self, user: Signed | None = None) -> tuple[list[Any], list[Any]]:
        """The versions of the user's events, and the ids of the entries about them."""
        events = await outbox(self.api.engine, UUID((user or self.ada)["user"]["id"]))
        return [row.version for row in events], [row.id for row in await self.audit(user)]

    async def add_users(self, count: int) -> set[str]:
        before = {row.id for row in await self.api.fetch("SELECT id::text FROM users")}
        await self.api.execute(
            "INSERT INTO users (email, password_hash, version)"
            f" SELECT gen_random_uuid() || '@example.org', 'x', 1 FROM generate_series(1, {count})"
        )
        return {row.id for row in await self.api.fetch("SELECT id::text FROM users")} - before


@pytest.fixture
async def office(api: AuthApi, root: Signed) -> Office:
    return Office(api, root, await api.sign_up())


class TestWhoMay:
    """Users whose row has the role at that moment."""

    REQUESTS = (
        ("GET", USERS, None),
        ("GET", f"{USERS}/{NOBODY}", None),
        ("PATCH", f"{USERS}/{NOBODY}", {"roles": ["admin"]}),
        ("DELETE", f"{USERS}/{NOBODY}", None),
        ("GET", "/v1/admin/audit", None),
        ("GET", "/v1/admin/settings", None),
    )

    @in_turn(("method", "path", "body"), REQUESTS)
    async def test_nobody_else(self, office: Office, method: str, path: str, body: object) -> None:
        """401 without a token, 403 without the role, whether or not the user exists."""
        unknown = await office.api.ask(None, method, path, body)
        known = await office.api.ask(office.ada, method, path, body)
        assert_problem(unknown, 401, "authentication_required")
        assert_problem(known, 403, "forbidden")

    async def test_a_demoted_administrator_is_refused_at_once(self, office: Office) -> None:
        """The row decides, in both directions, though a token says otherwise until it expires."""
        await office.patch(roles=["admin"])
        before = await office.api.ask(office.ada, "GET", USERS)
        administrator = (await office.api.sign_in()).json()
        await office.patch(roles=[])
        after = await office.api.ask(administrator, "GET", USERS)
        assert (administrator["user"]["roles"], before.status_code) == (["admin"], 200)
        assert_problem(after, 403, "forbidden")


class TestFinding:
    """``GET /v1/admin/users``, ``GET /v1/admin/users/{id}``."""

    async def test_a_user_is_shown_as_to_themselves(self, office: Office) -> None:
        answer = await office.ask("GET", office.path)
        assert answer.status_code == 200
        assert answer.json() == office.ada["user"]
        assert answer.json().keys() == USER

    async def test_pages_hold_each_user_once_while_others_come_and_go(self, office: Office) -> None:
        """A user who exists from the first page to the last is on exactly one of them."""
        there = await office.add_users(2)
        full = await office.page(limit=4)
        assert (len(full["items"]), full["next_cursor"]) == (4, None)
        there |= await office.add_users(22)
        gone = sorted(there)[3]
        there |= {each["user"]["id"] for each in (office.root, office.ada)}
        seen: list[str] = []
        params: dict[str, Any] = {"limit": 4}
        while True:
            page = await office.page(**params)
            assert page.keys() == {"items", "next_cursor"}
            assert 1 <= len(page["items"]) <= 4
            seen += [item["id"] for item in page["items"]]
            params["cursor"] = page["next_cursor"]
            if page["next_cursor"] is None:
                break
            await office.add_users(2)
            if gone in seen:
                await office.ask("DELETE", f"{USERS}/{gone}")

        assert len(seen) == len(set(seen))
        assert there <= set(seen)

    async def test_by_address_in_any_spelling(self, office: Office) -> None:
        found = {"items": [office.ada["user"]], "next_cursor": None}
        assert await office.page(email="ADA@Example.org") == found
        assert await office.page(email="da@example.org") == {"items": [], "next_cursor": None}
        assert_problem(await office.ask("GET", email="ada"), 422, "invalid_email")
        searched = "SELECT * FROM audit_log WHERE action = 'users_searched' ORDER BY id"
        entries = [entry.details["found"] for entry in await office.api.fetch(searched)]
        assert entries == [[str(office.ada_id)], []]

    @in_turn(
        ("name", "value"),
        [
            *(("cursor", bad) for bad in ("", "x", "AAAAAAAAAAU", NOBODY, "A" * 21, "A" * 23)),
            *(("cursor", bad) for bad in ("é", "\x00", "A" * 5000)),
            *(("limit", bad) for bad in ("0", "101", "-1", "x")),
        ],
    )
    async def test_a_bad_page_is_refused(self, office: Office, name: str, value: str) -> None:
        """422, never the first page; and nobody can request the whole table at once."""
        answer = await office.ask("GET", **{name: value})
        document = assert_problem(answer, 422, "invalid_request")
        assert document["errors"][0]["pointer"].startswith(f"/query/{name}")

    async def test_a_deleted_user_is_not_found(self, office: Office) -> None:
        version = (await office.ask("GET", office.path)).json()["version"]
        deleted = await office.delete()
        assert deleted.status_code == 204
        assert int(deleted.headers["User-Version"]) > version
        for answer in (
            await office.ask("GET", office.path),
            await office.patch(status="active"),
            await office.delete(),
            await office.ask("GET", f"{USERS}/{NOBODY}"),
        ):
            assert_problem(answer, 404, "not_found")
        listed = (await office.page())["items"]
        assert [user["email"] for user in listed] == ["root@example.org"]
        assert (await office.page(email=ADA))["items"] == []


class TestChanging:
    """``PATCH /v1/admin/users/{id}``."""

    async def test_roles_are_kept_sorted_and_once(self, office: Office) -> None:
        answer = await office.patch(roles=["writer", "editor", "writer"])

        assert answer.status_code == 200
        changed = answer.json()
        assert changed["roles"] == ["editor", "writer"]
        assert changed["version"] > office.ada["user"]["version"]
        *_, event = await office.events()
        assert (event.type, event.version) == ("user.updated", changed["version"])
        assert event.payload["roles"] == ["editor", "writer"]
        assert event.payload["tokens_valid_after"] is None

    async def test_disabling_ends_sessions_and_refuses_tokens(self, office: Office) -> None:
        """Here at once; the event tells other services since when. Enabling restores no token."""
        api, ada = office.api, office.ada
        changed = (await office.patch(status="disabled")).json()
        assert_problem(await api.me(ada), 403, "account_disabled")
        assert_problem(await api.sign_in(), 403, "account_disabled")
        assert_problem(await api.sign_in(password="wrong"), 401, "invalid_credentials")
        assert changed["status"] == "disabled"
        [session] = await api.fetch("SELECT * FROM sessions WHERE user_id = :id", id=office.ada_id)
        assert session.end_reason == "disabled"
        *_, event = await office.events()
        valid_after = datetime.fromisoformat(event.payload["tokens_valid_after"])
        assert event.payload["status"] == "disabled"
        assert session.ended_at < valid_after <= session.ended_at + timedelta(seconds=2)
        assert valid_after.microsecond == 0

        enabled = await office.patch(status="active")
        assert enabled.json()["status"] == "active"
        assert_problem(await api.me(ada), 401, "invalid_token")
        sign_in = await api.sign_in()
        assert (sign_in.status_code, (await api.me(sign_in.json())).status_code) == (200, 200)

    async def test_both_are_one_change(self, office: Office) -> None:
        await office.patch(roles=["editor"], status="disabled")
        events = await office.events()
        assert [event.type for event in events] == ["user.created", "user.updated"]
        state = events[-1].payload
        assert (state["roles"], state["status"]) == (["editor"], "disabled")
        actions = [entry.action for entry in await office.audit()]
        assert actions[-2:] == ["roles_changed", "user_disabled"]

    async def test_concurrent_changes_are_all_kept(self, office: Office) -> None:
        """A change reads the user only after it has locked the row."""
        engine = office.api.engine
        disable = administer(engine, office.ada_id, actor=OPERATOR, status="disabled")
        changed = await after_waiting(engine, disable, "UPDATE users SET roles = '{editor}'")
        assert (changed.roles, changed.status) == (("editor",), "disabled")

    @in_turn(
        "same",
        [{}, {"roles": ["b", "a", "b"]}, {"status": "active"}, {"roles": None, "status": None}],
    )
    async def test_a_change_that_changes_nothing_records_nothing(
        self, office: Office, same: dict[str, Any]
    ) -> None:
        first = (await office.patch(roles=["a", "b"])).json()
        before = await office.traces()
        assert (await office.patch(**same)).json() == first
        assert await office.traces() == before

    @in_turn(
        "body",
        [
            *({"roles": [role]} for role in ("Admin", "", "1st", "a\n", "a b", "é", "a" * 65)),
            {"roles": [f"r{n}" for n in range(33)]},
            {"roles": "admin"},
            *({"status": status} for status in ("deleted", "provisional")),
            *({"email": "eve@example.org"}, {"version": 1}, []),
        ],
    )
    async def test_other_forms_are_refused(self, office: Office, body: Any) -> None:
        answer = await office.ask("PATCH", office.path, body)
        assert_problem(answer, 422, "invalid_request")
        assert (await office.ask("GET", office.path)).json() == office.ada["user"]


class TestTheLastAdministrator:
    """They can neither be demoted, disabled nor deleted, by themselves or by others."""

    CHANGES: tuple[tuple[str, Mapping[str, Any] | None], ...] = (
        ("PATCH", {"roles": []}),
        ("PATCH", {"roles": ["editor"]}),
        ("PATCH", {"status": "disabled"}),
        ("DELETE", None),
    )

    async def test_stays(self, office: Office) -> None:
        """409, nothing recorded; a disabled administrator does not count as another."""
        root = office.root
        await office.patch(roles=["admin"])
        await office.patch(status="disabled")
        before = await office.traces(root)

        for method, change in self.CHANGES:
            answer = await office.ask(method, f"{USERS}/{root['user']['id']}", change)
            assert_problem(answer, 409, "last_administrator")
        assert_problem(await office.api.delete_me(root), 409, "last_administrator")

        assert await office.traces(root) == before
        allowed = office.ask("GET"), office.patch(root, roles=["admin", "operator"])
        assert await statuses(*allowed) == [200, 200]

    async def test_goes_when_there_is_another(self, office: Office) -> None:
        for method, change in self.CHANGES:
            await office.api.execute("UPDATE users SET roles = '{admin}', status = 'active'")
            session = (await office.api.sign_in("root@example.org")).json()
            path = f"{USERS}/{session['user']['id']}"
            assert (await office.api.ask(session, method, path, change)).is_success, change

    async def test_a_disabled_administrator_is_demoted_and_deleted(self, office: Office) -> None:
        await office.patch(roles=["admin"])
        await office.patch(status="disabled")
        done = office.patch(roles=[]), office.patch(roles=["admin"]), office.delete()
        assert await statuses(*done) == [200, 200, 204]

    async def test_of_two_who_remove_each_other_one_remains(self, office: Office) -> None:
        """In twenty rounds, by demotion, disabling and deletion: one of the two always remains."""
        ids = [UUID(each["user"]["id"]) for each in (office.root, office.ada)]
        for number in range(20):
            await office.api.execute("UPDATE users SET roles = '{admin}', status = 'active'")

            ends = await asyncio.gather(
                *(taken_away(office.api.engine, user_id, number) for user_id in ids),
                return_exceptions=True,
            )

            assert len(await office.api.fetch(ADMINISTRATORS)) == 1
            assert [type(end) for end in ends if end] == [LastAdministrator]


class TestAudit:
    async def test_each_action_names_actor_and_request(self, office: Office) -> None:
        actor = f"user:{office.root['user']['id']}"
        expected = []
        for action, change, details in (
            ("roles_changed", {"roles": ["b", "a"]}, {"granted": ["a", "b"], "revoked": []}),
            ("roles_changed", {"roles": ["b", "c"]}, {"granted": ["c"], "revoked": ["a"]}),
            ("user_disabled", {"status": "disabled"}, None),
            ("user_enabled", {"status": "active"}, None),
            ("user_deleted", None, None),
        ):
            answer = await (office.patch(**change) if change else office.delete())
            assert answer.is_success
            expected.append((action, actor, answer.headers["X-Request-ID"], details))

        entries = await office.audit()

        found = [(e.action, e.actor, e.request_id, e.details) for e in entries][-5:]
        assert found == expected
        assert len({request_id for _, _, request_id, _ in found}) == 5

    async def test_no_entry_without_its_action_and_no_action_without_its_entry(
        self, office: Office
    ) -> None:
        """One transaction: if either cannot be written, neither is."""
        before = await office.traces()
        for table in ("audit_log", "outbox_events"):
            async with refusing(office.api.engine, table):
                changes = office.patch(roles=["editor"]), office.patch(status="disabled")
                assert await statuses(*changes, office.delete()) == [500] * 3, table
            assert await office.traces() == before
            assert (await office.api.me(office.ada)).json() == office.ada["user"]

        assert (await office.patch(roles=["editor"])).status_code == 200


async def taken_away(engine: AsyncEngine, user_id: UUID, number: int) -> None:
    """Demote or disable the user or, in the last of twenty rounds, delete them."""
    if number == 19:
        await delete_by(engine, user_id, actor=OPERATOR)
    else:
        change: dict[str, Any] = {"status": "disabled"} if number % 2 else {"roles": []}
        await administer(engine, user_id, actor=OPERATOR, **change)
