"""Replays over HTTP: who has access, what the responses are, and what is refused."""

import time
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from auth_service.replays.routes import COUNTS_AT_ONCE_MAX, _counting
from service_kit.http.bearer import ON_BEHALF_OF, on_behalf_of
from tests.support.auth_api import AuthApi, Signed, assert_problem, bearer, signed_up
from tests.support.blog_api import a_token
from tests.support.replaying import AUDITED, fill, insert_replays

REPLAYS = "/v1/admin/replays"
NOWHERE = f"{REPLAYS}/00000000-0000-4000-8000-000000000000"
PAUSED = {"state": "paused"}
CONDITIONS = {
    *("consumer", "current_state", "since", "until", "from_position", "users", "types", "rate"),
    "warning",
}
REPLAY = CONDITIONS | {
    *("id", "state", "requested_by", "expected", "published", "seconds_left", "trouble"),
    *("created_at", "started_at", "updated_at", "finished_at"),
}
PLAN = CONDITIONS | {"events", "by_type", "erased_users", "seconds"}

Headers = dict[str, str]


@pytest.fixture
async def ada(api: AuthApi) -> Signed:
    signed_in = await signed_up(api, "ada@example.org")
    await has_roles(api, signed_in, "operator")
    return signed_in


@pytest.fixture
def operator(api: AuthApi, ada: Signed) -> AuthApi:
    """A client that sends an operator's token."""
    api.headers.update(bearer(ada))
    return api


async def has_roles(api: AuthApi, signed_in: Signed, roles: str) -> None:
    user_id = signed_in["user"]["id"]
    await api.execute(f"UPDATE users SET roles = '{{{roles}}}' WHERE id = '{user_id}'")


async def service(api: AuthApi, scope: str) -> tuple[str, Headers]:
    """The id of a service with that scope, and its token."""
    issued = await api.create_service(scope.replace(":", "-"), scope)
    return issued.id, bearer((await api.service_token(issued)).json())


async def started(api: AuthApi, headers: Headers | None = None, **body: Any) -> Signed:
    answer = await api.post(REPLAYS, json={"to": "blog", **body}, headers=headers)
    assert answer.status_code == 201, answer.text
    made: Signed = answer.json()
    return made


class TestAccess:
    """Users with the role by their current rows, and services with the scope, have access."""

    REQUESTS = (
        ("GET", REPLAYS, None),
        ("POST", REPLAYS, {"to": "blog"}),
        ("GET", NOWHERE, None),
        ("PATCH", NOWHERE, PAUSED),
    )

    async def test_no_one_else_has_access(self, api: AuthApi, root: Signed) -> None:
        _, other = await service(api, "posts:write")
        for method, path, body in self.REQUESTS:
            for headers, status, code in (
                ({}, 401, "authentication_required"),
                ({"Authorization": "Bearer rubbish"}, 401, "invalid_token"),
                (bearer(root), 403, "forbidden"),
                (other, 403, "insufficient_scope"),
            ):
                answer = await api.request(method, path, json=body, headers=headers)
                assert_problem(answer, status, code)
                if code == "insufficient_scope":
                    assert 'scope="replays:write"' in answer.headers["WWW-Authenticate"]

        assert await api.fetch("SELECT 1 FROM replays") == []

    async def test_a_service_with_the_scope_may_do_what_an_operator_may(self, api: AuthApi) -> None:
        """The row and the audit log name the service."""
        service_id, token = await service(api, "replays:write")

        made = await started(api, token)
        changed = await api.patch(f"{REPLAYS}/{made['id']}", json=PAUSED, headers=token)
        listed = await api.get(REPLAYS, headers=token)
        shown = await api.get(f"{REPLAYS}/{made['id']}", headers=token)

        assert made["requested_by"] == service_id
        assert [changed.status_code, listed.status_code, shown.status_code] == [200, 200, 200]
        assert [row.actor for row in await api.fetch(AUDITED)] == [service_id, service_id]

    async def test_the_current_role_counts_and_not_the_tokens(
        self, api: AuthApi, ada: Signed
    ) -> None:
        """A granted role works with an old token, a withdrawn one does not; disabled is 403."""
        before = await api.get(REPLAYS, headers=bearer(ada))
        await has_roles(api, ada, "")
        without = await api.get(REPLAYS, headers=bearer(ada))
        await has_roles(api, ada, "operator")
        await api.execute("UPDATE users SET status = 'disabled'")
        disabled = await api.get(REPLAYS, headers=bearer(ada))

        assert before.status_code == 200
        assert_problem(without, 403, "forbidden")
        assert_problem(disabled, 403, "account_disabled")


class TestOnBehalfOfAUser:
    """A service that sends a user's own token beside its own."""

    async def test_the_audit_log_names_user_and_service(self, api: AuthApi, ada: Signed) -> None:
        """The replay is the user's; the service that called is a detail of the entry."""
        service_id, headers = await service(api, "replays:write")
        headers |= on_behalf_of(ada["access_token"])

        made = await started(api, headers)
        where, states = f"{REPLAYS}/{made['id']}", ("paused", "running", "cancelled")
        steered = [await api.patch(where, json={"state": s}, headers=headers) for s in states]

        user = f"user:{ada['user']['id']}"
        assert made["requested_by"] == user
        assert [answer.status_code for answer in steered] == [200, 200, 200]
        rows = await api.fetch(AUDITED)
        assert [(row.actor, row.via) for row in rows] == [(user, service_id)] * 4

    async def test_an_invalid_subject_token_is_refused(
        self, api: AuthApi, ada: Signed, signing_key: rsa.RSAPrivateKey
    ) -> None:
        """Forged, expired, a bare name, a service's, of an ended session: 400, nothing starts."""
        _, headers = await service(api, "replays:write")
        ada_id = UUID(ada["user"]["id"])
        stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        ended = await api.sign_in()
        await api.post("/v1/signout", headers=bearer(ended.json()))
        for sent in (
            f"Bearer {a_token(stranger, ada_id)}",
            f"Bearer {a_token(signing_key, ada_id, iat=int(time.time()) - 3600)}",
            f"Bearer {a_token(signing_key, uuid4())}",
            f"Bearer {ended.json()['access_token']}",
            headers["Authorization"],
            ada["access_token"],
            f"user:{ada_id}",
            "Bearer",
            "",
        ):
            both = {**headers, ON_BEHALF_OF: sent}
            answer = await api.post(REPLAYS, json={"to": "blog"}, headers=both)
            assert_problem(answer, 400, "invalid_subject_token")
        twice = [*headers.items(), *[(ON_BEHALF_OF, bearer(ada)["Authorization"])] * 2]
        answers = [
            await api.post(REPLAYS, json={"to": "blog"}, headers=headers)
            # Only services act on behalf of others, not even operators.
            for headers in (twice, bearer(ada) | on_behalf_of(ada["access_token"]))
        ]
        for answer in answers:
            assert_problem(answer, 400, "invalid_subject_token")
        assert await api.fetch("SELECT 1 FROM replays") == []

    async def test_the_user_must_be_an_operator_by_the_current_row(
        self, api: AuthApi, ada: Signed
    ) -> None:
        """Demoted or disabled is 403, although the service has access and the token is valid."""
        _, headers = await service(api, "replays:write")
        made = await started(api, headers)
        _, other = await service(api, "posts:write")
        for_ada = on_behalf_of(ada["access_token"])

        async def paused(shown: Headers) -> httpx.Response:
            return await api.patch(f"{REPLAYS}/{made['id']}", json=PAUSED, headers=shown | for_ada)

        without_the_scope = await paused(other)
        await has_roles(api, ada, "admin")
        demoted = await paused(headers)
        await has_roles(api, ada, "operator")
        await api.execute("UPDATE users SET status = 'disabled'")
        disabled = await paused(headers)

        assert_problem(without_the_scope, 403, "insufficient_scope")
        assert_problem(demoted, 403, "forbidden")
        assert_problem(disabled, 403, "account_disabled")
        [row] = await api.fetch("SELECT state FROM replays")
        assert row.state == "running"


class TestLifecycle:
    async def test_responses_have_the_current_state(self, ada: Signed, operator: AuthApi) -> None:
        user = ada["user"]["id"]
        conditions: dict[str, Any] = {"since": "2026-01-31T13:00:00+01:00", "from_position": 1}
        conditions |= {"rate": 50, "users": [user], "types": ["user.created"]}
        made = await started(operator, **conditions)
        where = f"{REPLAYS}/{made['id']}"
        asked = ["paused", "paused", "running", "cancelled", "cancelled"]
        answers = [await operator.patch(where, json={"state": s}) for s in asked]
        shown = (await operator.get(where)).json()
        over = await operator.patch(where, json={"state": "running"})

        assert made.keys() == REPLAY
        assert (made["consumer"], made["state"], made["rate"]) == ("blog", "running", 50)
        assert (made["since"], made["requested_by"]) == ("2026-01-31T12:00:00Z", f"user:{user}")
        assert (made["users"], made["types"]) == ([user], ["user.created"])
        assert (made["expected"], made["published"], made["seconds_left"]) == (1, 0, 0.02)
        assert "empty replica" in made["warning"]
        assert {answer.status_code for answer in answers} == {200}
        assert [answer.json()["state"] for answer in answers] == asked
        assert (shown["finished_at"] is None, shown["seconds_left"]) == (False, None)
        assert_problem(over, 409, "replay_finished")
        rows = await operator.fetch(AUDITED)
        done = ["started", "paused", "resumed", "cancelled"]
        assert [row.action for row in rows] == [f"replay_{what}" for what in done]
        assert {row.actor for row in rows} == {f"user:{user}"}
        assert all(row.request_id for row in rows)

    async def test_a_dry_run_responds_with_the_plan_only(self, operator: AuthApi) -> None:
        """200 with the plan; no replay exists afterwards."""
        await fill(operator.engine, 9)
        plans = {"to": "blog", "dry_run": True}
        answer = await operator.post(REPLAYS, json=plans | {"rate": 4})
        state = await operator.post(REPLAYS, json=plans | {"current_state": True})

        plan = answer.json()
        assert (answer.status_code, state.status_code) == (200, 200)
        assert plan.keys() == PLAN
        assert (plan["events"], plan["seconds"], plan["warning"]) == (10, 2.5, None)
        assert plan["by_type"] == {"user.created": 10, "user.updated": 0, "user.deleted": 0}
        assert state.json()["by_type"] == {"user.created": 0, "user.updated": 1, "user.deleted": 0}
        assert await operator.fetch("SELECT 1 FROM replays") == []

    async def test_replays_are_listed_newest_first_in_pages(self, operator: AuthApi) -> None:
        """Replays added meanwhile do not move the others, and one consumer's fill its pages."""
        made = [(await started(operator, rate=rate))["id"] for rate in range(1, 6)]
        pages, cursor = [], None
        while True:
            params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = (await operator.get(REPLAYS, params=params)).json()
            pages.append([item["id"] for item in page["items"]])
            cursor = page["next_cursor"]
            if cursor is None:
                break
            others = await started(operator, to="other")

        assert pages == [made[:2:-1], made[2:0:-1], made[:1]]
        params = {"consumer": "other", "limit": 2}
        page = (await operator.get(REPLAYS, params=params)).json()
        assert [item["consumer"] for item in page["items"]] == ["other"] * 2
        assert (page["items"][0]["id"], page["next_cursor"]) == (others["id"], None)
        assert_problem(await operator.get(NOWHERE), 404, "not_found")
        # No operator can declare a replay done.
        refused = [(NOWHERE, "paused", 404), (f"{REPLAYS}/{made[0]}", "done", 422)]
        for path, state, status in refused:
            answer = await operator.patch(path, json={"state": state})
            assert answer.status_code == status, state


class TestRefusals:
    async def test_a_contradictory_request_is_refused(self, operator: AuthApi) -> None:
        bodies: tuple[dict[str, Any], ...] = (
            {},
            {"to": "Blog"},
            {"to": "blog", "rate": 0},
            {"to": "blog", "rate": 100_001},
            {"to": "blog", "rate": "5"},
            {"to": "blog", "from_position": 0},
            {"to": "blog", "since": "yesterday"},
            {"to": "blog", "since": "2026-01-31T12:00:00"},
            {"to": "blog", "since": 1_700_000_000},
            {"to": "blog", "since": "0001-01-01T00:00:00+23:00"},
            {"to": "blog", "users": ["ada"]},
            {"to": "blog", "types": ["sync.heartbeat"]},
            {"to": "blog", "current_state": True, "from_position": 1},
            {"to": "blog", "since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
            {"to": "blog", "why": "because"},
        )
        for body in bodies:
            for dry_run in (True, False):
                answer = await operator.post(REPLAYS, json={**body, "dry_run": dry_run})
                assert_problem(answer, 422, "invalid_request")

    async def test_a_replay_from_before_the_pruned_log_is_refused(self, operator: AuthApi) -> None:
        """409, with the alternative."""
        await operator.execute("UPDATE source SET pruned_position = 1")
        answer = await operator.post(REPLAYS, json={"to": "blog"})
        assert "current_state" in assert_problem(answer, 409, "log_pruned")["detail"]
        assert await started(operator, current_state=True)

    async def test_too_many_replays_are_refused(self, operator: AuthApi) -> None:
        """409 when a hundred are unfinished; 503 while too many are counted."""
        await insert_replays(operator.engine, 100)
        answer = await operator.post(REPLAYS, json={"to": "blog"})
        for _ in range(COUNTS_AT_ONCE_MAX):
            await _counting.acquire()
        try:
            busy = await operator.post(REPLAYS, json={"to": "blog"})
        finally:
            for _ in range(COUNTS_AT_ONCE_MAX):
                _counting.release()

        assert_problem(answer, 409, "too_many_replays")
        assert_problem(busy, 503, "busy")
