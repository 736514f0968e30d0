"""What is revoked at the auth service is refused by the blog within a second."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from service_kit.http import trusted
from tests.end_to_end.conftest import Running
from tests.support.eventually import eventually
from tests.support.processes import run
from tests.support.system import System, ended

PASSWORD = "heron lantern gravel sonnet"
OTHER_PASSWORD = "another heron, another lantern"
WITHIN_SECONDS = 1.0


@dataclass
class Person:
    """A user with their latest tokens."""

    id: str
    email: str
    headers: dict[str, str]
    refresh_token: str


async def test_changing_the_password_shuts_old_tokens_out_and_not_the_new(running: Running) -> None:
    for phase in (0.02, 0.35, 0.65, 0.93):
        person = await _known_person(running)
        await _wait_for_phase(phase)

        changed = await running.auth.post(
            "/v1/me/password",
            json={"current_password": PASSWORD, "new_password": OTHER_PASSWORD},
            headers=person.headers,
        )

        assert changed.status_code == 200, changed.text
        new = {"Authorization": f"Bearer {changed.json()['access_token']}"}
        # The new token is issued in the next second, and must not be refused for that.
        assert (await running.blog.get("/v1/me", headers=new)).status_code == 200
        await _refused_in_time(running, person, 401)
        assert (await running.blog.get("/v1/me", headers=new)).status_code == 200
        refreshed = await running.auth.post("/oauth/token", data=_refresh(person))
        assert (refreshed.status_code, refreshed.json()["error"]) == (400, "invalid_grant")


async def test_the_end_of_all_sessions_reaches_the_blog(running: Running) -> None:
    """By signing out on one device, or by a refresh token in two hands.

    The auth service detects the reuse; the blog refuses the thief's access token as well.
    """
    person = await _known_person(running)
    answer = await running.auth.post("/v1/signout?scope=global", headers=person.headers)
    assert answer.status_code == 204
    await _refused_in_time(running, person, 401)

    person = await _known_person(running)
    for _ in range(2):  # the successor's refresh leaves the first token two steps behind
        answer = await running.auth.post("/oauth/token", data=_refresh(person))
        assert answer.status_code == 200, answer.text
        stolen, person.refresh_token = person.refresh_token, answer.json()["refresh_token"]
        thief = replace(person, headers=_bearer(answer.json()))
    first = replace(person, refresh_token=stolen)

    await running.auth.post("/oauth/token", data=_refresh(person))
    reused = await running.auth.post("/oauth/token", data=_refresh(first))

    assert (reused.status_code, reused.json()["error"]) == (400, "invalid_grant")
    await _refused_in_time(running, thief, 401)


async def test_what_an_administrator_changes_reaches_the_blog(running: Running) -> None:
    """Roles, disabling and enabling, and a deletion."""
    admin = await _administrator(running)
    person = await _known_person(running)
    path = f"/v1/admin/users/{person.id}"

    granted = await running.auth.patch(path, json={"roles": ["moderator"]}, headers=admin)
    assert granted.status_code == 200
    await eventually(lambda: _has_roles(running, person, ["moderator"]))

    disabled = await running.auth.patch(path, json={"status": "disabled"}, headers=admin)
    assert disabled.status_code == 200, disabled.text
    refusal = await _refused_in_time(running, person, 403)
    assert refusal.json()["code"] == "account_disabled"
    enabled = await running.auth.patch(path, json={"status": "active"}, headers=admin)
    assert enabled.status_code == 200
    await _refused_in_time(running, person, 401)
    credentials = {"email": person.email, "password": PASSWORD}
    signed_in = await running.auth.post("/v1/signin", json=credentials)
    new = replace(person, headers=_bearer(signed_in.json()))
    assert (await running.blog.get("/v1/me", headers=new.headers)).status_code == 200

    deleted = await running.auth.delete(path, headers=admin)
    assert deleted.status_code == 204
    await _refused_in_time(running, new, 401)
    assert (await running.blog.get(f"/v1/users/{person.id}")).status_code == 404


async def test_a_deleted_service_account_is_refused_within_a_second(running: Running) -> None:
    """So is one whose key was revoked; the account's other key keeps working."""
    person = await _known_person(running)
    made = json.loads(
        await _auth_service(
            running.system, "services", "create", "feed", "--scope=posts:write", "--json"
        )
    )
    other = json.loads(
        await _auth_service(running.system, "services", "rotate-key", "feed", "--json")
    )
    leaked = await _service_token(running, made)
    assert await _keeps_a_post(running, person, leaked) == 201

    await _auth_service(running.system, "services", "revoke-key", made["key_id"])
    await _service_refused_in_time(running, person, leaked)
    fresh = await _service_token(running, other)
    assert await _keeps_a_post(running, person, fresh) == 201

    admin = await _administrator(running)
    deleted = await running.auth.delete(f"/v1/admin/services/{made['id']}", headers=admin)
    assert deleted.status_code == 204
    await _service_refused_in_time(running, person, fresh)


@pytest.fixture
async def rotating(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    blog = running.system.process(
        "blog-service api", BLOG_JWKS_URL=f"{running.auth_api.url}/.well-known/jwks.json"
    )
    with ended(blog):
        await blog.ready()
        async with httpx.AsyncClient(
            base_url=blog.url, trust_env=False, verify=trusted.authorities(), timeout=20
        ) as client:
            yield client


async def test_keys_rotate_without_one_refused_token_and_a_revoked_one_is_refused_in_time(
    running: Running, rotating: httpx.AsyncClient
) -> None:
    """By the auth service, by a blog that fetches keys, and by one with a configured key."""
    person = await _known_person(running)
    assert (await rotating.get("/v1/me", headers=person.headers)).status_code == 200
    before = _kid(person)
    made = await _auth_service(running.system, "keys", "generate")
    kid = next(key["kid"] for key in await _keys(running) if key["state"] == "pending")

    early = await _auth_service(running.system, "keys", "activate", kid, expected=1)
    await _auth_service(running.system, "keys", "activate", kid, "--force")

    assert kid in made
    assert "--force" in early
    newer = await eventually(lambda: _signed_with(running, kid))
    assert newer is not None
    assert _kid(newer) != before
    for each in (person, newer):
        assert (await rotating.get("/v1/me", headers=each.headers)).status_code == 200
        assert (await running.auth.get("/v1/me", headers=each.headers)).status_code == 200

    await _auth_service(running.system, "keys", "revoke", before)

    started = time.monotonic()
    for service in (running.auth, running.blog, rotating):
        await eventually(partial(_answers, service, person, 401), every=0.005)
    seconds = time.monotonic() - started
    print(f"revoked, refused by all after {seconds * 1000:.0f} ms")
    # The auth service reads its keys once a second.
    assert seconds < 2 * WITHIN_SECONDS
    assert (await rotating.get("/v1/me", headers=newer.headers)).status_code == 200

    # Another key takes the place of an active one.
    await _auth_service(running.system, "keys", "revoke", kid)
    await eventually(partial(_answers, running.auth, newer, 401), every=0.005)
    after = await _sign_up(running)
    assert _kid(after) not in (before, kid)
    assert (await running.auth.get("/v1/me", headers=after.headers)).status_code == 200


async def _known_person(running: Running) -> Person:
    person = await _sign_up(running)
    await eventually(lambda: _has_roles(running, person, []))
    return person


async def _sign_up(running: Running) -> Person:
    email = f"{uuid4().hex}@example.org"
    answer = await running.auth.post("/v1/signup", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    body = answer.json()
    headers = {"Authorization": f"Bearer {body['access_token']}"}
    return Person(body["user"]["id"], email, headers, body["refresh_token"])


async def _administrator(running: Running) -> dict[str, str]:
    email = f"admin-{uuid4().hex}@example.org"
    await _auth_service(running.system, "users", "create-admin", email, given=f"{PASSWORD}\n")
    answer = await running.auth.post("/v1/signin", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def _service_token(running: Running, issued: dict[str, Any]) -> dict[str, str]:
    answer = await running.auth.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(issued["id"], issued["api_key"]),
    )
    assert answer.status_code == 200, answer.text
    return _bearer(answer.json())


async def _keeps_a_post(running: Running, author: Person, headers: dict[str, str]) -> int:
    body = {"author_id": author.id, "title": "Kept", "body": "By a service"}
    answer = await running.blog.put(f"/v1/posts/{uuid4()}", json=body, headers=headers)
    return answer.status_code


async def _service_refused_in_time(
    running: Running, author: Person, headers: dict[str, str]
) -> None:
    started = time.monotonic()

    async def is_refused() -> bool:
        return await _keeps_a_post(running, author, headers) == 401

    await eventually(is_refused, every=0.005)
    assert time.monotonic() - started < WITHIN_SECONDS


def _bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


async def _auth_service(system: System, *arguments: str, given: str = "", expected: int = 0) -> str:
    command = ["auth-service", *arguments]
    ended = await asyncio.to_thread(
        run, command, system.environment, system.folder, typed=given.encode()
    )
    output = ended.stdout + ended.stderr
    assert ended.returncode == expected, output
    return output


async def _keys(running: Running) -> list[dict[str, Any]]:
    listed = json.loads(await _auth_service(running.system, "keys", "list", "--json"))
    keys: list[dict[str, Any]] = listed["items"]
    return keys


async def _signed_with(running: Running, kid: str) -> Person | None:
    person = await _sign_up(running)
    return person if _kid(person) == kid else None


async def _refused_in_time(running: Running, person: Person, status: int) -> httpx.Response:
    started = time.monotonic()
    answer = await eventually(partial(_answers, running.blog, person, status), every=0.002)
    seconds = time.monotonic() - started
    print(f"refused by the blog after {seconds * 1000:.0f} ms")
    assert answer is not None
    assert seconds < WITHIN_SECONDS
    return answer


async def _answers(
    service: httpx.AsyncClient, person: Person, status: int
) -> httpx.Response | None:
    answer = await service.get("/v1/me", headers=person.headers)
    return answer if answer.status_code == status else None


async def _has_roles(running: Running, person: Person, roles: list[str]) -> bool:
    me = (await running.blog.get("/v1/me", headers=person.headers)).json()
    return bool(me["status"] == "active" and me["roles"] == roles)


def _refresh(person: Person) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": person.refresh_token}


def _kid(person: Person) -> str:
    token = person.headers["Authorization"].removeprefix("Bearer ")
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid


async def _wait_for_phase(phase: float) -> None:
    await asyncio.sleep((phase - time.time()) % 1)
