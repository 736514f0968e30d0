"""A user's way through the whole system: auth API, relay, broker, consumer, blog API."""

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import httpx

from tests.end_to_end.conftest import Running
from tests.support.eventually import eventually
from tests.support.settled import is_settled, unpublished
from tests.support.source import source_on

PASSWORD = "heron lantern gravel sonnet"


@dataclass(frozen=True)
class Person:
    """A user with an account."""

    id: str
    email: str
    headers: dict[str, str]


async def test_a_sign_up_a_change_and_a_deletion_reach_the_blog_in_time(running: Running) -> None:
    person = await _sign_up(running)
    me = await eventually(lambda: _me_at(running, person, "active"))
    source = (await running.auth.get("/v1/me", headers=person.headers)).json()
    assert me == {**source, "display_name": None, "bio": None, "avatar_url": None}
    public = await running.blog.get(f"/v1/users/{person.id}")
    assert public.status_code == 200
    assert person.email not in public.text

    email = f"{uuid4().hex}@example.org"
    changed = await running.auth.patch(
        "/v1/me", json={"email": email, "password": PASSWORD}, headers=person.headers
    )
    assert changed.status_code == 200
    after = await eventually(lambda: _has_email(running, person, email))
    assert after["version"] > me["version"]

    deleted = await running.auth.request(
        "DELETE", "/v1/me", json={"password": PASSWORD}, headers=person.headers
    )
    started = time.monotonic()
    refused = await eventually(lambda: _is_refused(running, person), every=0.001)
    seconds = time.monotonic() - started

    print(f"deleted at the source, refused by the blog after {seconds * 1000:.0f} ms")
    assert deleted.status_code == 204
    assert refused
    assert refused.json()["code"] == "invalid_token"
    assert seconds < 1.0
    assert (await running.blog.get(f"/v1/users/{person.id}")).status_code == 404
    await _settles(running)


async def test_the_first_request_succeeds_while_the_consumer_is_stopped(running: Running) -> None:
    assert await running.consumer.stop() == 0
    person = await _sign_up(running)

    first = await running.blog.get("/v1/me", headers=person.headers)
    await running.consumer.ready()
    filled = await eventually(lambda: _me_at(running, person, "active"))

    assert first.status_code == 200
    assert (first.json()["status"], first.json()["version"]) == ("provisional", 0)
    assert first.json()["email"] is None
    assert filled["email"] == person.email


async def test_sign_ups_succeed_while_the_broker_is_away(running: Running) -> None:
    running.broker.refuse()
    people = await asyncio.gather(*(_sign_up(running) for _ in range(10)))
    ready = await running.auth.get("/readyz")
    waiting = await unpublished(running.system.auth_url)

    running.broker.refuse(False)

    for person in people:
        await eventually(partial(_me_at, running, person, "active"), within=30)
    assert ready.status_code == 200
    assert waiting >= len(people)
    await _settles(running)


async def test_no_log_contains_an_address(running: Running) -> None:
    person = await _sign_up(running)
    await eventually(lambda: _me_at(running, person, "active"))
    again = await running.auth.post(
        "/v1/signup", json={"email": person.email, "password": PASSWORD}
    )
    wrong = await running.auth.post(
        "/v1/signin", json={"email": person.email, "password": "wrong, and long enough"}
    )
    bad = await running.auth.post("/v1/signup", json={"email": "bad@@", "password": PASSWORD})
    async with source_on(running.system.amqp_url) as source:
        await source.publish_raw(person.email.encode())
        await eventually(lambda: _has_logged(running, "message.parked"))
    await running.blog.get("/v1/me", headers={"Authorization": f"Bearer {person.email}"})
    await running.blog.get("/v1/users/nobody@example.org")

    for process in (running.consumer, running.relay, running.blog_api, running.auth_api):
        await process.stop()

    logs = running.system.logs()
    assert (again.status_code, wrong.status_code, bad.status_code) == (409, 401, 422)
    assert len(logs) == 4
    assert all(logs.values()), "every process logs something"
    for name, text in logs.items():
        assert "@" not in text, name
        assert PASSWORD not in text, name


async def _settles(running: Running) -> None:
    system = running.system
    async with source_on(system.amqp_url) as source:
        await eventually(lambda: is_settled(system.auth_url, system.blog_url, source))


async def _sign_up(running: Running) -> Person:
    email = f"{uuid4().hex}@example.org"
    answer = await running.auth.post("/v1/signup", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    body = answer.json()
    return Person(body["user"]["id"], email, {"Authorization": f"Bearer {body['access_token']}"})


async def _me(running: Running, person: Person) -> dict[str, Any]:
    answer = await running.blog.get("/v1/me", headers=person.headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def _me_at(running: Running, person: Person, status: str) -> dict[str, Any] | None:
    me = await _me(running, person)
    return me if me["status"] == status else None


async def _has_email(running: Running, person: Person, email: str) -> dict[str, Any] | None:
    me = await _me(running, person)
    return me if me["email"] == email else None


async def _is_refused(running: Running, person: Person) -> httpx.Response | None:
    answer = await running.blog.get("/v1/me", headers=person.headers)
    return answer if answer.status_code == 401 else None


async def _has_logged(running: Running, event: str) -> bool:
    return any(event in text for text in running.system.logs().values())
