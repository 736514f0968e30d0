"""A user's way through the whole system: auth API, relay, broker, consumer, blog API."""

import asyncio
import time
from functools import partial
from uuid import uuid4

import httpx
import pytest

from tests.end_to_end.conftest import Person, Running
from tests.support.auth_api import PASSWORD
from tests.support.eventually import eventually
from tests.support.settled import settled, unpublished
from tests.support.source import source_on

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_sign_up_a_change_and_a_deletion_reach_the_blog_in_time(shared: Running) -> None:
    person = await shared.sign_up()
    me = await eventually(lambda: shared.me(person, status="active"))
    source = (await shared.auth.get("/v1/me", headers=person.headers)).json()
    assert me == {**source, "display_name": None, "bio": None, "avatar_url": None}
    public = await shared.blog.get(f"/v1/users/{person.id}")
    assert public.status_code == 200
    assert person.email not in public.text

    email = f"{uuid4().hex}@example.org"
    changed = await shared.auth.patch(
        "/v1/me", json={"email": email, "password": PASSWORD}, headers=person.headers
    )
    assert changed.status_code == 200
    after = await eventually(lambda: shared.me(person, email=email))
    assert after["version"] > me["version"]

    deleted = await shared.auth.request(
        "DELETE", "/v1/me", json={"password": PASSWORD}, headers=person.headers
    )
    started = time.monotonic()
    refused = await eventually(lambda: _is_refused(shared, person), every=0.001)
    seconds = time.monotonic() - started

    print(f"deleted at the source, refused by the blog after {seconds * 1000:.0f} ms")
    assert deleted.status_code == 204
    assert refused
    assert refused.json()["code"] == "invalid_token"
    assert seconds < 1.0
    assert (await shared.blog.get(f"/v1/users/{person.id}")).status_code == 404
    await _settles(shared)


async def test_a_client_waits_at_the_blog_for_what_it_changed(shared: Running) -> None:
    person = await shared.sign_up()
    email = f"{uuid4().hex}@example.org"
    changed = await shared.auth.patch(
        "/v1/me", json={"email": email, "password": PASSWORD}, headers=person.headers
    )
    wait = {"at_least": changed.json()["version"], "wait": 5}
    shown = await shared.blog.get(f"/v1/users/{person.id}", params=wait)
    assert (shown.status_code, shown.json()["version"]) == (200, wait["at_least"])

    deleted = await shared.auth.request(
        "DELETE", "/v1/me", json={"password": PASSWORD}, headers=person.headers
    )
    wait = {"at_least": int(deleted.headers["User-Version"]), "wait": 5}
    gone = await shared.blog.get(f"/v1/users/{person.id}", params=wait)
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
    await _settles(shared)


async def test_the_first_request_succeeds_while_the_consumer_is_stopped(shared: Running) -> None:
    assert await shared.consumer.stop() == 0
    person = await shared.sign_up()

    first = await shared.blog.get("/v1/me", headers=person.headers)
    await shared.consumer.ready()
    filled = await eventually(lambda: shared.me(person, status="active"))

    assert first.status_code == 200
    assert (first.json()["status"], first.json()["version"]) == ("provisional", 0)
    assert first.json()["email"] is None
    assert filled["email"] == person.email


async def test_sign_ups_succeed_while_the_broker_is_away(shared: Running) -> None:
    shared.broker.refuse()
    people = await asyncio.gather(*(shared.sign_up() for _ in range(10)))
    ready = await shared.auth.get("/readyz")
    waiting = await unpublished(shared.system.auth_url)

    shared.broker.refuse(False)

    for person in people:
        await eventually(partial(shared.me, person, status="active"), within=30)
    assert ready.status_code == 200
    assert waiting >= len(people)
    await _settles(shared)


async def test_no_log_contains_an_address(shared: Running) -> None:
    person = await shared.sign_up()
    await eventually(lambda: shared.me(person, status="active"))
    again, wrong, bad = [
        await shared.auth.post(path, json={"email": email, "password": password})
        for path, email, password in (
            ("/v1/signup", person.email, PASSWORD),
            ("/v1/signin", person.email, "wrong, and long enough"),
            ("/v1/signup", "bad@@", PASSWORD),
        )
    ]
    async with source_on(shared.system.amqp_url) as source:
        await source.publish_raw(person.email.encode())
        await eventually(lambda: "message.parked" in shared.consumer.log.read_text())
    await shared.blog.get("/v1/me", headers={"Authorization": f"Bearer {person.email}"})
    await shared.blog.get("/v1/users/nobody@example.org")

    members = (shared.consumer, shared.relay, shared.blog_api, shared.auth_api)
    await asyncio.gather(*(member.stop() for member in members))

    logs = shared.system.logs()
    assert (again.status_code, wrong.status_code, bad.status_code) == (409, 401, 422)
    assert len(logs) == 4
    assert all(logs.values()), "every process logs something"
    for name, text in logs.items():
        assert "@" not in text, name
        assert PASSWORD not in text, name


async def _settles(shared: Running) -> None:
    async with source_on(shared.system.amqp_url) as source:
        await settled(shared.system, source)


async def _is_refused(shared: Running, person: Person) -> httpx.Response | None:
    answer = await shared.blog.get("/v1/me", headers=person.headers)
    return answer if answer.status_code == 401 else None
