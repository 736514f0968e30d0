"""Test ``/v1/sync/parked``: only operators see, redrive and discard parked messages."""

import base64
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from blog_service.settings import ApiSettings
from replica.parked import read, routes
from tests.support.blog_api import a_token, blog_api
from tests.support.builders import SOURCE, a_state, a_tombstone, an_event
from tests.support.in_turn import in_turn
from tests.support.inbox import apply_events, execute, fetch, parked, refuse_writes, replica
from tests.support.parked_messages import (
    UNTIL_NOW,
    a_delivery,
    park_deliveries,
    park_events,
    rubbish,
)

LIST = "/v1/sync/parked"
BECAUSE = {"because": "sent by a test"}
OPERATOR = a_state(roles=("editor", "operator"))


@pytest.fixture
async def stranger(blog_url: str, public_pem: str) -> AsyncIterator[httpx.AsyncClient]:
    settings = ApiSettings(
        _env_file=None, database_url=blog_url, public_key=public_pem, issuer=SOURCE
    )
    async with blog_api(settings) as client:
        yield client


@pytest.fixture
async def blog(
    stranger: httpx.AsyncClient, blog_engine: AsyncEngine, signing_key: rsa.RSAPrivateKey
) -> httpx.AsyncClient:
    await apply_events(blog_engine, OPERATOR)
    stranger.headers["Authorization"] = f"Bearer {a_token(signing_key, OPERATOR.id)}"
    return stranger


async def test_the_list_shows_messages_and_reasons(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine
) -> None:
    state = a_state()
    first, second = await park_deliveries(blog_engine, a_delivery(an_event(state)), rubbish())
    [row, _] = await parked(blog_engine)

    answer = await blog.get(LIST)

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["next_cursor"] is None
    newest, oldest = answer.json()["items"]
    times = [datetime.fromisoformat(oldest.pop(name)) for name in ("first_failed_at",)]
    assert times == [row.first_failed_at]
    assert datetime.fromisoformat(oldest.pop("last_failed_at")) == row.last_failed_at
    assert oldest == {
        "id": first,
        "reason": UNTIL_NOW[0],
        "error": UNTIL_NOW[1],
        "user_id": str(state.id),
        "event_type": "user.updated",
        "attempts": 1,
        "erased": False,
    }
    assert (newest["id"], newest["user_id"], newest["event_type"]) == (second, None, None)
    assert "example.org" not in answer.text


async def test_the_list_comes_in_pages(blog: httpx.AsyncClient, blog_engine: AsyncEngine) -> None:
    ids = await park_deliveries(blog_engine, *(rubbish(b"%d" % number) for number in range(5)))
    first = (await blog.get(LIST, params={"limit": 2})).json()
    await park_deliveries(blog_engine, rubbish(b"newer"))
    second = (await blog.get(LIST, params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [item["id"] for item in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None


async def test_the_list_of_one_reason(blog: httpx.AsyncClient, blog_engine: AsyncEngine) -> None:
    [_] = await park_deliveries(blog_engine, rubbish(b"1"), reason="too_large")
    [wanted] = await park_deliveries(blog_engine, rubbish(b"2"), reason="dead_lettered")
    found = (await blog.get(LIST, params={"reason": "dead_lettered"})).json()
    none = (await blog.get(LIST, params={"reason": "bored"})).json()
    assert [item["id"] for item in found["items"]] == [wanted]
    assert none["items"] == []


async def test_show_has_the_whole_message(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine
) -> None:
    event = an_event(a_state(email="ada+ä@example.org"))
    delivery = a_delivery(event, headers={"odd": b"\xff", "deep": [{"a": "nul\0"}]})
    [parked_id] = await park_deliveries(blog_engine, delivery)

    answer = await blog.get(f"{LIST}/{parked_id}")

    shown = answer.json()
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert (shown["exchange"], shown["routing_key"]) == ("users", "user.updated")
    assert shown["properties"]["message_id"] == str(event.id)
    assert shown["properties"]["delivery_mode"] == 2
    assert "headers" not in shown["properties"]
    assert shown["headers"]["cloudEvents_id"] == str(event.id)
    assert shown["headers"]["odd"] == {"$bytes": "/w=="}
    assert shown["headers"]["deep"] == [{"a": "nul\0"}]
    assert shown["body"].encode() == delivery.body
    assert (shown["body_encoding"], shown["body_bytes"]) == ("utf-8", len(delivery.body))
    assert shown["event_type"] == "user.updated"
    assert not shown["erased"]


@pytest.mark.parametrize(
    ("body", "shown", "encoding"),
    [
        (b"", "", "utf-8"),
        (b"nul\0", "nul\0", "utf-8"),
        ("ä".encode("latin-1"), "5A==", "base64"),
        ("ä".encode()[:1], "ww==", "base64"),
    ],
    ids=["empty", "nul", "latin", "cut"],
)
async def test_a_body_is_shown_as_text_or_base64(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, body: bytes, shown: str, encoding: str
) -> None:
    [parked_id] = await park_deliveries(blog_engine, rubbish(body))

    message = (await blog.get(f"{LIST}/{parked_id}")).json()

    assert (message["body"], message["body_encoding"], message["body_bytes"]) == (
        shown,
        encoding,
        len(body),
    )


@pytest.mark.parametrize("letter", ["ä".encode(), b"\xff"], ids=["text", "octets"])
async def test_of_a_very_long_body_the_beginning_is_shown(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, letter: bytes
) -> None:
    body = b"x" + letter * read.BODY_SHOWN_BYTES_MAX
    [parked_id] = await park_deliveries(blog_engine, rubbish(body))

    message = (await blog.get(f"{LIST}/{parked_id}")).json()

    assert message["body_bytes"] == len(body)
    is_text = message["body_encoding"] == "utf-8"
    begin = message["body"].encode() if is_text else base64.b64decode(message["body"])
    assert body.startswith(begin)
    assert len(begin) == read.BODY_SHOWN_BYTES_MAX - is_text


async def test_show_says_that_the_body_was_erased_with_its_user(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine
) -> None:
    state = a_state()
    [parked_id] = await park_events(blog_engine, an_event(state))
    await apply_events(blog_engine, a_tombstone(state.id))

    shown = (await blog.get(f"{LIST}/{parked_id}")).json()
    [listed] = (await blog.get(LIST)).json()["items"]

    assert shown["erased"]
    assert listed["erased"]
    assert (shown["body"], shown["body_encoding"], shown["body_bytes"]) == (None, None, None)
    assert shown["headers"]["cloudEvents_subject"] == str(state.id)
    assert state.email not in str(shown)


async def test_redriving_one_returns_the_outcome(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine
) -> None:
    state = a_state()
    [parked_id, _] = await park_deliveries(blog_engine, a_delivery(an_event(state)), rubbish())

    with capture_logs() as logs:
        answer = await blog.post(f"{LIST}/{parked_id}/redrive")
    again = await blog.post(f"{LIST}/{parked_id}/redrive")
    metrics = (await blog.get("/metrics")).text

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json() == {"id": parked_id, "outcome": "applied", "reason": None, "error": None}
    assert (await replica(blog_engine))[state.id].email == state.email
    _is_problem(again, 404, "not_found")
    assert "usersync_parked_messages 1.0" in metrics
    [line] = [line for line in logs if line["event"] == "message.redriven"]
    assert (line["parked_id"], line["outcome"], line["actor"]) == (
        parked_id,
        "applied",
        f"user:{OPERATOR.id}",
    )


async def test_redriving_what_fails_again_says_why(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine
) -> None:
    [parked_id] = await park_deliveries(blog_engine, rubbish())

    with capture_logs() as logs:
        answer = await blog.post(f"{LIST}/{parked_id}/redrive")

    assert answer.status_code == 200
    assert answer.json() == {
        "id": parked_id,
        "outcome": "parked",
        "reason": "not_a_cloud_event",
        "error": "no CloudEvents 1.0 headers",
    }
    assert (await blog.get(f"{LIST}/{parked_id}")).json()["attempts"] == 2
    assert "example.org" not in str(logs)


async def test_redriving_all_returns_counts(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine
) -> None:
    same, gone = a_state(), a_state()
    await apply_events(blog_engine, same, a_tombstone(gone.id))
    await park_deliveries(
        blog_engine,
        *(a_delivery(an_event(state)) for state in (a_state(), a_state(), same, gone)),
        rubbish(),
    )

    answer = await blog.post(f"{LIST}/redrive")

    assert answer.status_code == 200
    assert answer.json() == {
        "applied": 2,
        "unchanged": 1,
        "stale": 0,
        "tombstoned": 1,
        "parked": 1,
        "next_cursor": None,
    }
    assert len(await parked(blog_engine)) == 1


async def test_redriving_all_continues_with_a_cursor_when_it_takes_long(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request ends in time; the next tries the rest, without the failures."""
    monkeypatch.setattr(routes, "REDRIVE_SECONDS_MAX", 0.0)
    await park_deliveries(blog_engine, rubbish(), a_delivery(an_event(a_state())), rubbish(b"2"))
    cursor: dict[str, str] = {}
    answers = []

    for _ in range(3):
        answers.append((await blog.post(f"{LIST}/redrive", params=cursor)).json())
        cursor = {"cursor": answers[-1]["next_cursor"]}

    assert [(each["parked"], each["applied"]) for each in answers] == [(1, 0), (0, 1), (1, 0)]
    assert [each["next_cursor"] is None for each in answers] == [False, False, True]
    assert [row.attempts for row in await parked(blog_engine)] == [2, 2]


async def test_nothing_to_redrive_is_no_error(blog: httpx.AsyncClient) -> None:
    answer = await blog.post(f"{LIST}/redrive")
    assert answer.status_code == 200
    assert set(answer.json().values()) == {0, None}


async def test_discarding_leaves_a_record_without_the_content(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine
) -> None:
    state = a_state()
    [parked_id] = await park_events(blog_engine, an_event(state))
    [row] = await parked(blog_engine)

    with capture_logs() as logs:
        answer = await blog.post(f"{LIST}/{parked_id}/discard", json=BECAUSE)
    again = await blog.post(f"{LIST}/{parked_id}/discard", json=BECAUSE)

    assert (answer.status_code, answer.content) == (204, b"")
    _is_problem(again, 404, "not_found")
    assert await parked(blog_engine) == []
    [note] = await fetch(blog_engine, "SELECT * FROM discarded_messages")
    assert note._asdict() == {
        "id": parked_id,
        "message_hash": row.message_hash,
        "user_id": state.id,
        "parked_for": UNTIL_NOW[0],
        "because": BECAUSE["because"],
        "discarded_by": f"user:{OPERATOR.id}",
        "discarded_at": note.discarded_at,
    }
    assert note.discarded_at > row.last_failed_at
    assert state.id not in await replica(blog_engine)
    assert [line["event"] for line in logs] == ["message.discarded"]
    assert "usersync_parked_messages 0.0" in (await blog.get("/metrics")).text


async def test_a_discarded_message_that_comes_again_is_parked_again(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine
) -> None:
    [first] = await park_deliveries(blog_engine, rubbish())
    await blog.post(f"{LIST}/{first}/discard", json=BECAUSE)
    [second] = await park_deliveries(blog_engine, rubbish())

    answer = await blog.post(f"{LIST}/{second}/discard", json=BECAUSE)

    notes = await fetch(blog_engine, "SELECT id, message_hash FROM discarded_messages ORDER BY id")
    assert answer.status_code == 204
    assert [note.id for note in notes] == [first, second]
    assert notes[0].message_hash == notes[1].message_hash


REQUESTS = [
    ("GET", LIST),
    ("GET", f"{LIST}/1"),
    ("POST", f"{LIST}/1/redrive"),
    ("POST", f"{LIST}/redrive"),
    ("POST", f"{LIST}/1/discard"),
]


@pytest.mark.parametrize(("method", "path"), REQUESTS)
async def test_only_operators_may(
    stranger: httpx.AsyncClient,
    blog_engine: AsyncEngine,
    signing_key: rsa.RSAPrivateKey,
    method: str,
    path: str,
) -> None:
    """By the replica's current row; neither the token, another role nor a service is enough."""
    await park_deliveries(blog_engine, rubbish())
    before = await parked(blog_engine)
    admin, former = a_state(roles=("admin", "operators")), a_state(roles=("operator",))
    await apply_events(blog_engine, admin, former)
    await apply_events(blog_engine, a_state(former.id, 2, roles=()))

    async def ask(subject: UUID | str | None, **claims: Any) -> httpx.Response:
        token = subject and a_token(signing_key, subject, **claims)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        json = BECAUSE if path.endswith("discard") else None
        return await stranger.request(method, path, headers=headers, json=json)

    _is_problem(await ask(None), 401, "authentication_required")
    _is_problem(await ask("svc_importer"), 403, "user_required")
    for user_id in (uuid4(), admin.id, former.id):
        _is_problem(await ask(user_id, roles=["operator"]), 403, "forbidden")
    assert await parked(blog_engine) == before


@pytest.mark.parametrize(
    ("method", "path"), [request for request in REQUESTS if "/1" in request[1]]
)
async def test_an_unknown_message_is_not_found(
    blog: httpx.AsyncClient, method: str, path: str
) -> None:
    json = BECAUSE if path.endswith("discard") else None
    _is_problem(await blog.request(method, path, json=json), 404, "not_found")


@in_turn(
    ("method", "path", "json"),
    [
        ("GET", f"{LIST}?cursor=rubbish", None),
        ("GET", f"{LIST}?limit=101", None),
        ("GET", f"{LIST}?reason={'x' * 65}", None),
        ("GET", f"{LIST}?reason=%00", None),
        ("GET", f"{LIST}/0", None),
        ("GET", f"{LIST}/seven", None),
        ("GET", f"{LIST}/{2**63}", None),
        ("POST", f"{LIST}/redrive?cursor=!", None),
        ("POST", f"{LIST}/1/discard", {}),
        ("POST", f"{LIST}/1/discard", {"because": ""}),
        ("POST", f"{LIST}/1/discard", {"because": " \n"}),
        ("POST", f"{LIST}/1/discard", {"because": "x" * 501}),
        ("POST", f"{LIST}/1/discard", {"because": "x", "more": 1}),
    ],
)
async def test_malformed_requests_are_422(
    blog: httpx.AsyncClient, method: str, path: str, json: Any
) -> None:
    _is_problem(await blog.request(method, path, json=json), 422, "invalid_request")


async def test_a_database_that_refuses_is_503_and_changes_nothing(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine
) -> None:
    [parked_id] = await park_events(blog_engine, an_event(a_state()))
    before = await parked(blog_engine)
    await refuse_writes(blog_engine, "53100")
    for path in (f"{LIST}/{parked_id}/redrive", f"{LIST}/redrive"):
        _is_problem(await blog.post(path), 503, "unavailable")
    assert await parked(blog_engine) == before


async def test_operators_who_were_deleted_are_out(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine
) -> None:
    """Redriving the caller's own deletion ends their access and erases their parked messages."""
    await park_events(blog_engine, an_event(OPERATOR), an_event(a_tombstone(OPERATOR.id, 9)))
    _, deletion = [row.id for row in await parked(blog_engine)]

    answer = await blog.post(f"{LIST}/{deletion}/redrive")

    assert answer.json()["outcome"] == "applied"
    _is_problem(await blog.get(LIST), 401, "invalid_token")
    [row] = await parked(blog_engine)
    assert row.body is None


async def test_a_header_that_looks_like_a_tag_is_no_500(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine
) -> None:
    """Nor is one stored by an old version that did not distinguish the two."""
    [sent, stored] = await park_deliveries(
        blog_engine, a_delivery(an_event(a_state()), headers={"$bytes": "YQ=="}), rubbish()
    )
    await execute(
        blog_engine,
        'UPDATE parked_messages SET properties = \'{"headers": {"$bytes": "YQ=="}}\''
        f" WHERE id = {stored}",
    )

    answers = [await blog.get(f"{LIST}/{parked_id}") for parked_id in (sent, stored)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert (await blog.post(f"{LIST}/redrive")).json()["parked"] == 1


def _is_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
