"""Test ``/v1/sync/parked``: only operators see, redrive and discard parked messages."""

import base64
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from structlog.testing import capture_logs

from replica.parked import read, routes
from tests.support.builders import a_state, a_tombstone, an_event
from tests.support.content import People
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
async def blog(people: People) -> People:
    await people.apply(OPERATOR)
    people.act_as(OPERATOR.id)
    return people


async def test_the_list_shows_messages_and_reasons(blog: People) -> None:
    state = a_state()
    event = an_event(state)
    first, second = await park_deliveries(blog.engine, a_delivery(event), rubbish())
    [row, _] = await parked(blog.engine)

    answer = await blog.client.get(LIST)

    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.json()["next_cursor"] is None
    newest, oldest = answer.json()["items"]
    for time in ("first_failed_at", "last_failed_at"):
        assert datetime.fromisoformat(oldest.pop(time)) == getattr(row, time)
    assert oldest == {
        "id": first,
        "reason": UNTIL_NOW[0],
        "error": UNTIL_NOW[1],
        "user_id": str(state.id),
        "event_type": "user.updated",
        "event_id": str(event.id),
        "attempts": 1,
        "erased": False,
    }
    assert (newest["id"], newest["user_id"], newest["event_type"]) == (second, None, None)
    assert "example.org" not in answer.text


async def test_the_list_comes_in_pages(blog: People) -> None:
    ids = await park_deliveries(blog.engine, *(rubbish(b"%d" % number) for number in range(5)))
    first = (await blog.client.get(LIST, params={"limit": 2})).json()
    await park_deliveries(blog.engine, rubbish(b"newer"))
    page = {"limit": 3, "cursor": first["next_cursor"]}
    second = (await blog.client.get(LIST, params=page)).json()
    assert [item["id"] for item in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None


async def test_messages_are_grouped_by_reason_and_type(blog: People) -> None:
    """Those of a group are listed alone, a page at a time; some have no type."""
    updated = [a_delivery(an_event(a_state())) for _ in range(3)]
    ids = await park_deliveries(blog.engine, *updated)
    [deleted] = await park_deliveries(blog.engine, a_delivery(an_event(a_tombstone())))
    [odd] = await park_deliveries(blog.engine, rubbish(), reason="not_a_cloud_event")

    groups = (await blog.client.get(f"{LIST}/groups")).json()["items"]
    assert sorted(groups, key=lambda group: group["messages"])[-1] == groups[0]
    assert {(each["reason"], each["event_type"], each["messages"]) for each in groups} == {
        (UNTIL_NOW[0], "user.updated", 3),
        (UNTIL_NOW[0], "user.deleted", 1),
        ("not_a_cloud_event", None, 1),
    }
    for kind, listed in (("user.updated", ids[::-1]), ("user.deleted", [deleted]), ("", [odd])):
        page: dict[str, Any] | None = {"type": kind, "limit": 2}
        found = []
        while page is not None:
            answer = (await blog.client.get(LIST, params=page)).json()
            found += [item["id"] for item in answer["items"]]
            cursor = answer["next_cursor"]
            page = page | {"cursor": cursor} if cursor else None
        assert found == listed, kind


async def test_the_list_of_one_reason(blog: People) -> None:
    [_] = await park_deliveries(blog.engine, rubbish(b"1"), reason="too_large")
    [wanted] = await park_deliveries(blog.engine, rubbish(b"2"), reason="dead_lettered")
    found = (await blog.client.get(LIST, params={"reason": "dead_lettered"})).json()
    none = (await blog.client.get(LIST, params={"reason": "bored"})).json()
    assert [item["id"] for item in found["items"]] == [wanted]
    assert none["items"] == []


async def test_show_has_the_whole_message(blog: People) -> None:
    """Until its user is deleted: then it says that the body was erased."""
    state = a_state(email="ada+ä@example.org")
    event = an_event(state)
    delivery = a_delivery(event, headers={"odd": b"\xff", "deep": [{"a": "nul\0"}]})
    [parked_id] = await park_deliveries(blog.engine, delivery)

    answer = await blog.client.get(f"{LIST}/{parked_id}")

    shown = answer.json()
    properties, headers = shown["properties"], shown["headers"]
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert (shown["exchange"], shown["routing_key"]) == ("users", "user.updated")
    assert (properties["message_id"], properties["delivery_mode"]) == (str(event.id), 2)
    assert "headers" not in properties
    assert headers["cloudEvents_id"] == str(event.id)
    assert (headers["odd"], headers["deep"]) == ({"$bytes": "/w=="}, [{"a": "nul\0"}])
    assert shown["body"].encode() == delivery.body
    assert (shown["body_encoding"], shown["body_bytes"]) == ("utf-8", len(delivery.body))
    assert (shown["event_type"], shown["erased"]) == ("user.updated", False)

    await apply_events(blog.engine, a_tombstone(state.id))
    shown = (await blog.client.get(f"{LIST}/{parked_id}")).json()
    [listed] = (await blog.client.get(LIST)).json()["items"]
    assert (shown["erased"], listed["erased"]) == (True, True)
    assert (shown["body"], shown["body_encoding"], shown["body_bytes"]) == (None, None, None)
    assert shown["headers"]["cloudEvents_subject"] == str(state.id)
    assert state.email not in str(shown)


async def test_a_body_is_shown_as_text_or_base64(blog: People) -> None:
    for body, shown, encoding in [
        (b"", "", "utf-8"),
        (b"nul\0", "nul\0", "utf-8"),
        ("ä".encode("latin-1"), "5A==", "base64"),
        ("ä".encode()[:1], "ww==", "base64"),
    ]:
        [parked_id] = await park_deliveries(blog.engine, rubbish(body))
        message = (await blog.client.get(f"{LIST}/{parked_id}")).json()
        assert (message["body"], message["body_encoding"]) == (shown, encoding)
        assert message["body_bytes"] == len(body)


async def test_of_a_very_long_body_the_beginning_is_shown(blog: People) -> None:
    for letter in ("ä".encode(), b"\xff"):
        body = b"x" + letter * read.BODY_SHOWN_BYTES_MAX
        [parked_id] = await park_deliveries(blog.engine, rubbish(body))

        message = (await blog.client.get(f"{LIST}/{parked_id}")).json()

        assert message["body_bytes"] == len(body)
        is_text = message["body_encoding"] == "utf-8"
        begin = message["body"].encode() if is_text else base64.b64decode(message["body"])
        assert body.startswith(begin)
        assert len(begin) == read.BODY_SHOWN_BYTES_MAX - is_text


async def test_redriving_one_returns_the_outcome(blog: People) -> None:
    state = a_state()
    [parked_id, _] = await park_deliveries(blog.engine, a_delivery(an_event(state)), rubbish())

    with capture_logs() as logs:
        answer = await blog.client.post(f"{LIST}/{parked_id}/redrive")
    again = await blog.client.post(f"{LIST}/{parked_id}/redrive")

    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.json() == {"id": parked_id, "outcome": "applied", "reason": None, "error": None}
    assert (await replica(blog.engine))[state.id].email == state.email
    _is_problem(again, 404, "not_found")
    assert "usersync_parked_messages 1.0" in (await blog.client.get("/metrics")).text
    [line] = [line for line in logs if line["event"] == "message.redriven"]
    told = (line["parked_id"], line["outcome"], line["actor"])
    assert told == (parked_id, "applied", f"user:{OPERATOR.id}")


async def test_redriving_what_fails_again_says_why(blog: People) -> None:
    [parked_id] = await park_deliveries(blog.engine, rubbish())
    with capture_logs() as logs:
        answer = await blog.client.post(f"{LIST}/{parked_id}/redrive")
    assert answer.status_code == 200
    told = {"reason": "not_a_cloud_event", "error": "no CloudEvents 1.0 headers"}
    assert answer.json() == {"id": parked_id, "outcome": "parked", **told}
    assert (await blog.client.get(f"{LIST}/{parked_id}")).json()["attempts"] == 2
    assert "example.org" not in str(logs)


async def test_redriving_all_returns_counts(blog: People) -> None:
    counts = {"applied": 0, "unchanged": 0, "stale": 0, "tombstoned": 0, "parked": 0}
    nothing = await blog.client.post(f"{LIST}/redrive")
    same, gone = a_state(), a_state()
    await apply_events(blog.engine, same, a_tombstone(gone.id))
    events = [a_delivery(an_event(state)) for state in (a_state(), a_state(), same, gone)]
    await park_deliveries(blog.engine, *events, rubbish())

    answer = await blog.client.post(f"{LIST}/redrive")

    outcomes = {"applied": 2, "unchanged": 1, "tombstoned": 1, "parked": 1}
    for each, found in ((nothing, {}), (answer, outcomes)):
        assert (each.status_code, each.json()) == (200, counts | found | {"next_cursor": None})
    assert len(await parked(blog.engine)) == 1


async def test_redriving_all_continues_with_a_cursor_when_it_takes_long(
    blog: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request ends in time; the next tries the rest, without the failures."""
    monkeypatch.setattr(routes, "REDRIVE_SECONDS_MAX", 0.0)
    await park_deliveries(blog.engine, rubbish(), a_delivery(an_event(a_state())), rubbish(b"2"))
    cursor: dict[str, str] = {}
    answers = []

    for _ in range(3):
        answers.append((await blog.client.post(f"{LIST}/redrive", params=cursor)).json())
        cursor = {"cursor": answers[-1]["next_cursor"]}

    assert [(each["parked"], each["applied"]) for each in answers] == [(1, 0), (0, 1), (1, 0)]
    assert [each["next_cursor"] is None for each in answers] == [False, False, True]
    assert [row.attempts for row in await parked(blog.engine)] == [2, 2]


async def test_discarding_leaves_a_record_without_the_content(blog: People) -> None:
    state = a_state()
    [parked_id] = await park_events(blog.engine, an_event(state))
    [row] = await parked(blog.engine)

    with capture_logs() as logs:
        answer = await blog.client.post(f"{LIST}/{parked_id}/discard", json=BECAUSE)
    again = await blog.client.post(f"{LIST}/{parked_id}/discard", json=BECAUSE)

    assert (answer.status_code, answer.content) == (204, b"")
    _is_problem(again, 404, "not_found")
    assert await parked(blog.engine) == []
    [note] = await fetch(blog.engine, "SELECT * FROM discarded_messages")
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
    assert state.id not in await replica(blog.engine)
    assert [line["event"] for line in logs] == ["message.discarded"]
    assert "usersync_parked_messages 0.0" in (await blog.client.get("/metrics")).text


async def test_a_discarded_message_that_comes_again_is_parked_again(blog: People) -> None:
    ids = []
    for _ in range(2):
        ids += await park_deliveries(blog.engine, rubbish())
        answer = await blog.client.post(f"{LIST}/{ids[-1]}/discard", json=BECAUSE)
        assert answer.status_code == 204
    notes = await fetch(blog.engine, "SELECT id, message_hash FROM discarded_messages ORDER BY id")
    assert [note.id for note in notes] == ids
    assert notes[0].message_hash == notes[1].message_hash


REQUESTS = [
    ("GET", LIST, None),
    ("GET", f"{LIST}/1", None),
    ("POST", f"{LIST}/1/redrive", None),
    ("POST", f"{LIST}/redrive", None),
    ("POST", f"{LIST}/1/discard", BECAUSE),
]


async def test_only_operators_may(people: People) -> None:
    """By the replica's current row; neither the token, another role nor a service is enough."""
    await park_deliveries(people.engine, rubbish())
    before = await parked(people.engine)
    admin = await people.user(roles=("admin", "operators"))
    former = await people.user(roles=("operator",))
    await people.apply(a_state(former, 2, roles=()))

    for method, path, json in REQUESTS:
        _is_problem(await people.ask(None, method, path, json), 401, "authentication_required")
        _is_problem(await people.ask("svc_importer", method, path, json), 403, "user_required")
        for user_id in (uuid4(), admin, former):
            headers = {"Authorization": f"Bearer {people.token(user_id, roles=['operator'])}"}
            answer = await people.client.request(method, path, headers=headers, json=json)
            _is_problem(answer, 403, "forbidden")
    assert await parked(people.engine) == before


async def test_an_unknown_message_is_not_found(blog: People) -> None:
    for method, path, json in REQUESTS:
        if "/1" in path:
            _is_problem(await blog.client.request(method, path, json=json), 404, "not_found")


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
async def test_malformed_requests_are_422(blog: People, method: str, path: str, json: Any) -> None:
    _is_problem(await blog.client.request(method, path, json=json), 422, "invalid_request")


async def test_a_database_that_refuses_is_503_and_changes_nothing(blog: People) -> None:
    [parked_id] = await park_events(blog.engine, an_event(a_state()))
    before = await parked(blog.engine)
    await refuse_writes(blog.engine, "53100")
    for path in (f"{LIST}/{parked_id}/redrive", f"{LIST}/redrive"):
        _is_problem(await blog.client.post(path), 503, "unavailable")
    assert await parked(blog.engine) == before


async def test_operators_who_were_deleted_are_out(blog: People) -> None:
    """Redriving the caller's own deletion ends their access and erases their parked messages."""
    await park_events(blog.engine, an_event(OPERATOR), an_event(a_tombstone(OPERATOR.id, 9)))
    _, deletion = [row.id for row in await parked(blog.engine)]
    answer = await blog.client.post(f"{LIST}/{deletion}/redrive")
    assert answer.json()["outcome"] == "applied"
    _is_problem(await blog.client.get(LIST), 401, "invalid_token")
    [row] = await parked(blog.engine)
    assert row.body is None


async def test_a_header_that_looks_like_a_tag_is_no_500(blog: People) -> None:
    """Nor is one stored by an old version that did not distinguish the two."""
    [sent, stored] = await park_deliveries(
        blog.engine, a_delivery(an_event(a_state()), headers={"$bytes": "YQ=="}), rubbish()
    )
    tagged = '{"headers": {"$bytes": "YQ=="}}'
    update = f"UPDATE parked_messages SET properties = '{tagged}' WHERE id = {stored}"
    await execute(blog.engine, update)

    answers = [await blog.client.get(f"{LIST}/{parked_id}") for parked_id in (sent, stored)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert (await blog.client.post(f"{LIST}/redrive")).json()["parked"] == 1


def _is_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
