"""Operators and administrators find users and view the life of one, and the audit log says so."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Row

from service_kit.process.id_prefixes import FOUND_MAX
from tests.support.auth_api import ADA, AuthApi, Signed, assert_problem

USERS, SEARCH = "/v1/admin/users", "/v1/admin/users/search"


@dataclass(frozen=True)
class Desk:
    """An operator, an administrator, and a user."""

    api: AuthApi
    operator: Signed
    admin: Signed
    ada: Signed

    @property
    def ada_id(self) -> str:
        return str(self.ada["user"]["id"])

    async def search(self, who: Signed | None, text: str) -> httpx.Response:
        return await self.api.ask(who, "POST", SEARCH, {"text": text})

    async def found(self, who: Signed, text: str) -> list[dict[str, Any]]:
        response = await self.search(who, text)
        assert response.status_code == 200, response.text
        items: list[dict[str, Any]] = response.json()["items"]
        return items

    async def life(self, who: Signed | None, user_id: object = None) -> httpx.Response:
        return await self.api.ask(who, "GET", f"{USERS}/{user_id or self.ada_id}/life")

    async def audit(self, action: str) -> list[Row[Any]]:
        return await self.api.fetch(f"SELECT * FROM audit_log WHERE action = '{action}'")


@pytest.fixture
async def desk(api: AuthApi, root: Signed) -> Desk:
    ada, operator = await api.sign_up(), await api.sign_up("grace@example.org")
    await api.execute(
        f"UPDATE users SET roles = '{{operator}}' WHERE id = '{operator['user']['id']}'"
    )
    return Desk(api, operator, root, ada)


async def test_nobody_else_may(desk: Desk) -> None:
    for who, status, code in (
        (None, 401, "authentication_required"),
        (desk.ada, 403, "forbidden"),
    ):
        for user_id in (desk.ada_id, uuid4()):
            assert_problem(await desk.life(who, user_id), status, code)
        assert_problem(await desk.search(who, ADA), status, code)
    assert await desk.audit("user_viewed") == []


async def test_an_operator_sees_no_address_and_finds_nobody_by_one(desk: Desk) -> None:
    by_id = await desk.search(desk.operator, desk.ada_id[:8].upper())
    by_address = await desk.search(desk.operator, ADA)
    life = await desk.life(desk.operator)

    assert by_id.json() == {
        "items": [{"id": desk.ada_id, "email": None, "status": "active"}],
        "searched_addresses": False,
    }
    assert by_address.json() == {"items": [], "searched_addresses": False}
    shown = life.json()
    assert "@" not in life.text
    assert (shown["id"], shown["email"], shown["audit"]) == (desk.ada_id, None, None)
    assert (shown["status"], shown["sessions"], shown["roles"]) == ("active", 1, [])
    [version] = shown["versions"]
    assert (version["version"], version["type"]) == (shown["version"], "user.created")
    assert (version["published_at"], version["set_aside"]) == (None, None)
    [viewed] = await desk.audit("user_viewed")
    actor = f"user:{desk.operator['user']['id']}"
    assert (viewed.subject, viewed.actor, viewed.details) == (desk.ada_id, actor, None)
    assert await desk.audit("users_searched") == []


async def test_an_administrator_finds_by_address_and_it_is_audited(desk: Desk) -> None:
    """In any spelling, from the third character on; the audit log has ids only."""
    await desk.api.execute(
        "INSERT INTO users (email, password_hash, version)"
        " VALUES ('ada_lovelace@example.org', 'x', 1), ('adaxlovelace@example.org', 'x', 1)"
    )
    both = await desk.found(desk.admin, " ada@ ")
    [underscore] = await desk.found(desk.admin, "ADA_")
    by_id = await desk.found(desk.admin, desk.ada_id)
    nobody = await desk.found(desk.admin, "100%")

    assert both == by_id == [{"id": desk.ada_id, "email": ADA, "status": "active"}]
    assert underscore["email"] == "ada_lovelace@example.org"
    assert nobody == []
    searched = await desk.audit("users_searched")
    actor = f"user:{desk.admin['user']['id']}"
    assert [(each.actor, each.subject) for each in searched] == [(actor, None)] * 4
    ids = [[desk.ada_id], [underscore["id"]], [desk.ada_id], []]
    assert [each.details for each in searched] == [{"found": found} for found in ids]


async def test_an_administrator_sees_the_address_and_what_was_done(desk: Desk) -> None:
    """But not who has looked: that would hide who has disabled them."""
    await desk.api.ask(desk.admin, "PATCH", f"{USERS}/{desk.ada_id}", {"status": "disabled"})
    for _ in range(2):
        shown = (await desk.life(desk.admin)).json()
    assert (shown["email"], shown["status"], shown["sessions"]) == (ADA, "disabled", 0)
    assert shown["tokens_valid_after"] is not None
    assert [each["type"] for each in shown["versions"]] == ["user.updated", "user.created"]
    assert next(each["action"] for each in shown["audit"]) == "user_disabled"
    assert "user_viewed" not in {each["action"] for each in shown["audit"]}
    assert len(await desk.audit("user_viewed")) == 2


async def test_a_deleted_user_is_found_by_id_with_nothing_personal(desk: Desk) -> None:
    await desk.api.ask(desk.admin, "DELETE", f"{USERS}/{desk.ada_id}")

    tombstone = {"id": desk.ada_id, "email": None, "status": "deleted"}
    assert await desk.found(desk.admin, desk.ada_id[:12]) == [tombstone]
    assert await desk.found(desk.admin, ADA) == []
    life = await desk.life(desk.admin)
    shown = life.json()
    assert "@" not in life.text
    assert (shown["status"], shown["sessions"]) == ("deleted", 0)
    assert shown["deleted_at"] is not None
    personal = ("email", "email_verified", "roles", "tokens_valid_after", "created_at")
    assert {shown[name] for name in personal} == {None}
    assert shown["versions"][0]["type"] == "user.deleted"


async def test_what_cannot_be_is_refused_and_much_is_cut_off(desk: Desk) -> None:
    await desk.api.execute(
        "INSERT INTO users (email, password_hash, version)"
        f" SELECT 'many' || n || '@example.org', 'x', 1 FROM generate_series(1, {FOUND_MAX + 1}) n"
    )
    assert len(await desk.found(desk.admin, "many")) == FOUND_MAX
    assert_problem(await desk.life(desk.admin, uuid4()), 404, "not_found")
    for text in ("ad", "   ", "  a ", "a" * 321, "ada\0"):
        assert_problem(await desk.search(desk.admin, text), 422, "invalid_request")
