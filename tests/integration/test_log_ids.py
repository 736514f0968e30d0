"""Real log lines about a message, an event or a request name it: docs/telemetry.md says how."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from structlog.testing import capture_logs

from blog_service.replica_of_users import USERS
from contracts.events import Event
from contracts.events.names import EXCHANGE
from contracts.sync.merge import Outcome
from contracts.traceparent import trace_id
from replica.inbox.activity import Activity
from replica.inbox.retry import retry
from replica.inbox.settle import Settler
from replica.tail.notes import Notes
from tests.support.auth_api import AuthApi, bearer
from tests.support.builders import a_state, an_event
from tests.support.content import People
from tests.support.database_sessions import holding
from tests.support.eventually import eventually
from tests.support.inbox import Inbox, apply_events, execute, refuse_writes
from tests.support.log_ids import IN_CONTEXT, OF_REQUESTS, assert_has_ids
from tests.support.parked_messages import a_delivery, park_deliveries, rubbish
from tests.support.relaying import QUEUE, Pipe

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OPERATOR = a_state(roles=("operator",))


@contextmanager
def logged() -> Iterator[list[Any]]:
    with capture_logs(IN_CONTEXT) as lines:
        yield lines


def traced_event() -> Event:
    return replace(an_event(a_state()), traceparent=TRACE)


def ids_of(event: Event) -> dict[str, Any]:
    return {"event_id": event.id, "user_id": event.data.subject, "trace_id": trace_id(TRACE)}


async def test_a_parked_message_is_named_even_if_it_cannot_be_read(inbox: Inbox) -> None:
    """By its headers; nothing else of it gets into the log."""
    settler = Settler(USERS, inbox.settings, inbox.engine)
    refused, unreadable = traced_event(), traced_event()
    await refuse_writes(inbox.engine, "23514", refused.data.subject)  # a check that fails

    for event, body in ((refused, None), (unreadable, b'{"email": "ada@example.org"')):
        with logged() as lines:
            assert await settler.settle([a_delivery(event, body=body)]) == [Outcome.PARKED]
        assert_has_ids(lines, "message.parked", **ids_of(event))
    with logged() as lines:
        await settler.settle([rubbish(), rubbish()])
    assert "example.org" not in str(lines)


async def test_a_message_that_waits_is_named_each_time(inbox: Inbox) -> None:
    """When it is set aside, when it is applied later, and when it is parked after all."""
    first, second = (a_state() for _ in range(2))
    await apply_events(inbox.engine, first, second)
    events = [
        replace(an_event(a_state(state.id, 2)), traceparent=TRACE) for state in (first, second)
    ]
    activity = Activity()
    settler = Settler(USERS, inbox.settings, inbox.engine, activity)
    with logged() as lines:
        async with holding(inbox.engine, "SELECT FROM users FOR UPDATE"):
            outcomes = await settler.settle([a_delivery(event) for event in events])
    assert outcomes == [Outcome.SET_ASIDE] * 2
    named = {line["event_id"] for line in lines if line["event"] == "message.set_aside"}
    assert named == {str(event.id) for event in events}
    assert_has_ids(lines, "message.set_aside", trace_id=trace_id(TRACE))

    await refuse_writes(inbox.engine, "23514", second.id)
    await execute(inbox.engine, "UPDATE waiting_messages SET next_try_at = clock_timestamp()")
    with logged() as lines:
        await retry(USERS, inbox.settings, inbox.engine, activity, Notes())
    assert_has_ids(lines, "message.retried", **ids_of(events[0]))
    assert_has_ids(lines, "message.parked", **ids_of(events[1]))


async def test_what_an_operator_does_with_a_message_names_its_event_and_its_user(
    people: People,
) -> None:
    """Not the operator, who is the ``actor``, as the line's user."""
    await people.apply(OPERATOR)
    people.act_as(OPERATOR.id)
    for action, body, event_name in (
        ("redrive", None, "message.redriven"),
        ("discard", {"because": "sent by a test"}, "message.discarded"),
    ):
        event = traced_event()
        parked = (a_delivery(event), rubbish(action.encode()))
        known, unknown = await park_deliveries(people.engine, *parked)
        with logged() as lines:
            await people.client.post(f"/v1/sync/parked/{known}/{action}", json=body)
        expected = {"event_id": event.id, "user_id": event.data.subject}
        assert_has_ids(lines, event_name, **expected)
        with logged() as lines:
            await people.client.post(f"/v1/sync/parked/{unknown}/{action}", json=body)
        [line] = [line for line in lines if line["event"] == event_name]
        assert (line["event_id"], line["user_id"]) == (None, None)
        assert line["actor"] == f"user:{OPERATOR.id}"
        assert line.keys() >= OF_REQUESTS


async def test_an_event_that_no_queue_accepts_is_named(pipe: Pipe) -> None:
    user = a_state()
    await pipe.insert("session.ended", user.id)
    await pipe.execute(f"UPDATE outbox_events SET traceparent = '{TRACE}'")
    [row] = await pipe.outbox()
    expected = {"event_id": row.event_id, "user_id": user.id, "trace_id": trace_id(TRACE)}
    with logged() as lines:
        async with pipe.relaying():
            await eventually(lambda: any(line["event"] == "relay.set_aside" for line in lines))
            await pipe.source.channel.queue_bind(QUEUE, EXCHANGE, "session.*")
            await eventually(pipe.all_published)
    assert_has_ids(lines, "relay.set_aside", **expected)
    assert_has_ids(lines, "relay.released", **expected)


async def test_every_line_of_a_request_names_it_and_its_trace(api: AuthApi) -> None:
    """And, once the token is verified, the user who called; the next request is not theirs."""
    signed_in = await api.sign_up()
    headers = {"X-Request-ID": "request-7", "traceparent": TRACE}
    expected = {"request_id": "request-7", "trace_id": trace_id(TRACE)}
    with logged() as lines:
        await api.sign_in("nobody@example.org", "wrong")
        await api.get("/v1/me", headers=headers | {"Authorization": "Bearer wrong"})
    [failed, refused] = lines
    assert failed.keys() >= OF_REQUESTS
    assert {name: refused[name] for name in expected} == expected

    await execute(api.engine, "ALTER TABLE sessions RENAME TO away")
    with logged() as lines:
        answer = await api.get("/v1/me/sessions", headers=headers | bearer(signed_in))
        await api.get("/v1/me", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code in (500, 503)
    [broken, refused] = lines
    assert broken["event"].startswith("http.")
    expected["user_id"] = signed_in["user"]["id"]
    assert {name: broken[name] for name in expected} == expected
    assert "user_id" not in refused
