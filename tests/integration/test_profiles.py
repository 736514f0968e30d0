"""Test profiles, and the administrators' view of the replica."""

from typing import Any
from uuid import UUID, uuid4

from tests.support.auth_api import assert_problem
from tests.support.builders import a_state, a_tombstone
from tests.support.content import People
from tests.support.in_turn import in_turn
from tests.support.inbox import fetch
from tests.support.locks import after_waiting

ADA = {
    "display_name": "Ada",
    "bio": "Writes about\nengines",
    "avatar_url": "https://img.example/ada.png",
}
NOTHING = dict.fromkeys(ADA)


class TestProfile:
    """``GET, PATCH /v1/me`` and ``GET /v1/users/{id}``."""

    async def test_a_profile_is_shown_to_its_user_and_to_everyone(self, people: People) -> None:
        ada = await people.user(email="ada@example.org", roles=("editor",))
        changed = await people.done(ada, "PATCH", "/v1/me", ADA)
        assert changed == await people.done(ada, "GET", "/v1/me")
        assert changed.items() >= {"email": "ada@example.org", "id": str(ada), **ADA}.items()
        public = await people.done(None, "GET", f"/v1/users/{ada}")
        shown = ("id", "status", "version", "created_at", *ADA)
        assert public == {name: changed[name] for name in shown}

    async def test_missing_fields_stay_and_null_clears(self, people: People) -> None:
        ada = await people.user()

        async def changed(**changes: str | None) -> dict[str, Any]:
            me = await people.done(ada, "PATCH", "/v1/me", changes)
            return {name: me[name] for name in ADA}

        assert await changed() == NOTHING
        assert await fetch(people.engine, "SELECT 1 FROM profiles") == []
        assert await changed(**ADA) == ADA
        assert await changed(display_name="Lovelace") == ADA | {"display_name": "Lovelace"}
        assert await changed(bio=None) == ADA | {"display_name": "Lovelace", "bio": None}
        assert await changed() == ADA | {"display_name": "Lovelace", "bio": None}
        assert await changed(**NOTHING) == NOTHING

    @in_turn(
        "changes",
        [
            *(
                {"display_name": name}
                for name in ("", " \u200b", "x" * 51, "two\nlines", "\u202eadA")
            ),
            *({"bio": text} for text in ("x" * 501, "\x00")),
            *({"avatar_url": url} for url in ("http://img.example/a.png", "javascript:alert(1)")),
            {"avatar_url": "https://img.example/\"onerror='alert(1)'"},
            *({"email": "eve@example.org"}, {"roles": ["admin"]}),
            {"user_id": "00000000-0000-4000-8000-000000000001"},
        ],
        ids=lambda changes: ascii(changes)[:40],
    )
    async def test_bad_profiles_are_refused(self, people: People, changes: dict[str, Any]) -> None:
        ada = await people.user()
        await people.done(ada, "PATCH", "/v1/me", ADA)
        answer = await people.ask(ada, "PATCH", "/v1/me", {"bio": "Other", **changes})
        assert_problem(answer, 422, "invalid_request")
        me = await people.done(ada, "GET", "/v1/me")
        assert me.items() >= ADA.items()

    async def test_users_change_only_their_own_profiles(self, people: People) -> None:
        ada, root = await people.user(), await people.user(roles=("admin", "moderator"))
        await people.done(ada, "PATCH", "/v1/me", ADA)
        await people.done(root, "PATCH", "/v1/me", {"display_name": "Root"})
        public = await people.done(None, "GET", f"/v1/users/{ada}")
        assert public["display_name"] == "Ada"
        for method in ("PATCH", "PUT"):
            answer = await people.ask(root, method, f"/v1/users/{ada}", {"display_name": "Eve"})
            assert_problem(answer, 405, "method_not_allowed")

    async def test_a_deleted_users_profile_is_gone_at_once(self, people: People) -> None:
        """Before anything has been erased."""
        ada = await people.user()
        await people.done(ada, "PATCH", "/v1/me", ADA)
        await people.apply(a_tombstone(ada))
        assert_problem(await people.ask(None, "GET", f"/v1/users/{ada}"), 404, "not_found")
        refused = await people.ask(ada, "GET", "/v1/me")
        assert_problem(refused, 401, "invalid_token")
        assert refused.headers["WWW-Authenticate"].endswith('error="invalid_token"')
        assert_problem(await people.ask(ada, "PATCH", "/v1/me", ADA), 401, "invalid_token")

    async def test_no_profile_appears_after_the_tombstone(self, people: People) -> None:
        ada = await people.user()
        [answer] = await people.during_tombstone(ada, people.ask(ada, "PATCH", "/v1/me", ADA))
        assert_problem(answer, 401, "invalid_token")
        assert await fetch(people.engine, "SELECT 1 FROM profiles") == []

    async def test_a_change_survives_the_removal_of_a_provisional_row(self, people: People) -> None:
        """Reconcile may remove it as an orphan just then; with a valid token the request works."""
        ada = uuid4()
        await people.done(ada, "GET", "/v1/me")

        change = people.ask(ada, "PATCH", "/v1/me", ADA)
        answer = await after_waiting(people.engine, change, "DELETE FROM users")
        assert answer.status_code == 200
        assert answer.json().items() >= {"status": "provisional", "email": None, **ADA}.items()
        await people.apply(a_state(ada, 2))
        me = await people.done(ada, "GET", "/v1/me")
        assert me.items() >= {"status": "active", **ADA}.items()


class TestReplica:
    """``GET /v1/admin/users``."""

    async def test_every_row_is_listed(self, people: People) -> None:
        root = await people.user(roles=("admin",), version=4)
        ada = await people.user(email="ada@example.org")
        off = await people.user(status="disabled")
        new, gone = uuid4(), uuid4()
        await people.done(new, "GET", "/v1/me")
        await people.apply(a_tombstone(gone, 9))

        page = await people.done(root, "GET", "/v1/admin/users")

        rows = {UUID(row["id"]): row for row in page["items"]}
        statuses = {user_id: row["status"] for user_id, row in rows.items()}
        living = {root: "active", ada: "active", off: "disabled", new: "provisional"}
        assert statuses == {**living, gone: "deleted"}
        assert page["next_cursor"] is None
        assert rows[ada]["applied_at"]
        assert rows[ada].items() >= {"email": "ada@example.org", "deleted_at": None}.items()
        assert (rows[root]["version"], rows[root]["roles"]) == (4, ["admin"])
        assert rows[gone]["deleted_at"] == "2026-01-01T12:00:00Z"
        assert (rows[gone]["email"], rows[gone]["version"]) == (None, 9)
        assert rows[gone].keys() == {
            "id", "email", "email_verified", "roles", "status", "version", "created_at",
            "updated_at", "deleted_at", "applied_at",
        }  # fmt: skip

    async def test_it_is_paged(self, people: People) -> None:
        """By id, so each user comes once even if users are added meanwhile."""
        root = await people.user(roles=("admin",))
        users = {root, *[await people.user() for _ in range(6)]}
        seen: list[UUID] = []

        async for page in people.pages("/v1/admin/users", root, limit=3):
            seen += [UUID(row["id"]) for row in page]
            if len(seen) < 9:
                await people.user()

        assert len(seen) == len(set(seen))
        assert users <= set(seen)

    async def test_the_replica_is_listed_for_administrators_only(self, people: People) -> None:
        """The role comes from the replica's row."""
        root = await people.user(roles=("admin",))
        await people.done(root, "GET", "/v1/admin/users")
        await people.apply(a_state(root, 2))
        others = [await people.user(roles=roles) for roles in ((), ("moderator",), ("operator",))]
        for who in (root, *others):
            assert_problem(await people.ask(who, "GET", "/v1/admin/users"), 403, "forbidden")
        answer = await people.ask(None, "GET", "/v1/admin/users")
        assert_problem(answer, 401, "authentication_required")
