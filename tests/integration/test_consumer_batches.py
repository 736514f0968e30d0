"""The consumer applies batches, and parks a message that is at fault, alone."""

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from pamqp.commands import Basic

from contracts.events import Event
from contracts.events.envelope import BODY_BYTES_MAX, encode
from tests.support.builders import NOON, a_state, a_tombstone, an_event
from tests.support.eventually import eventually
from tests.support.inbox import Inbox, accept_writes, fetch, is_at, parked, refuse_writes
from tests.support.inbox import replica as replica_of
from tests.support.source import DEAD


async def test_a_backlog_is_applied_in_batches_and_acknowledged(inbox: Inbox) -> None:
    events = [an_event(a_state(), created=True) for _ in range(1_200)]
    await inbox.declare()
    await inbox.source.publish(*events)

    async with inbox.consuming():
        await inbox.has_applied(len(events))

    assert len(await fetch(inbox.engine, "SELECT DISTINCT applied_at FROM users")) <= 60
    assert await inbox.source.ready() == 0


async def test_a_small_batch_does_not_wait_to_be_filled(inbox: Inbox) -> None:
    async with inbox.consuming(batch_size=5_000, prefetch=5_000):
        await inbox.source.publish(an_event(a_state(), created=True))
        await inbox.has_applied(1, within=5)
    assert await inbox.source.ready() == 0


USER = uuid4()
BODY = a_state(USER).model_dump_json().encode()


def _headers(event: Event | None = None, **changes: Any) -> dict[str, Any]:
    """Return the headers of an event, by default one about ``USER``; None removes one."""
    headers = {**(encode(event or an_event(a_state(USER))).headers or {}), **changes}
    return {name: value for name, value in headers.items() if value is not None}


OF_ANOTHER = _headers(an_event(a_state()))
NEWER_SCHEMA = "urn:usersync:schema:user.updated:2"
NUMBER = BODY.replace(b'"email":"', b'"email":17,"x":"')
GARBAGE: dict[str, tuple[str, dict[str, Any] | None, bytes]] = {
    "no headers": ("not_a_cloud_event", None, BODY),
    "no cloud event": ("not_a_cloud_event", {"hello": "world"}, b"hello"),
    "CloudEvents 2.0": ("not_a_cloud_event", _headers(cloudEvents_specversion="2.0"), BODY),
    "unknown type": ("unknown_type", _headers(cloudEvents_type="user.promoted"), BODY),
    "a type that is not a text": ("unknown_type", _headers(cloudEvents_type=17), BODY),
    "unknown schema": ("unknown_schema", _headers(cloudEvents_dataschema=NEWER_SCHEMA), BODY),
    "no time": ("invalid_attribute", _headers(cloudEvents_time="noon"), BODY),
    "no id": ("invalid_attribute", _headers(cloudEvents_id=None), BODY),
    "no JSON": ("invalid_data", _headers(), b"{"),
    "no UTF-8": ("invalid_data", _headers(), b'{"id": "\xff\xfe"}'),
    "an empty body": ("invalid_data", _headers(), b""),
    "deeply nested": ("invalid_data", _headers(), b"[" * 60_000),
    "a number for the e-mail": ("invalid_data", _headers(), NUMBER),
    "another user in the body": ("invalid_data", OF_ANOTHER, BODY),
    "oversize": ("too_large", _headers(), BODY[:-1] + b" " * BODY_BYTES_MAX + b"}"),
}


async def test_garbage_is_parked_alone_as_it_came(inbox: Inbox) -> None:
    """Unreadable messages are kept whole, with reason and time; neighbours are applied."""
    neighbours = [an_event(a_state()) for _ in range(len(GARBAGE) + 1)]
    await inbox.declare()
    for neighbour, (_, headers, body) in zip(neighbours[1:], GARBAGE.values(), strict=True):
        await inbox.source.publish(neighbour)
        await inbox.source.publish_raw(body, Basic.Properties(headers=headers, delivery_mode=2))
    await inbox.source.publish(neighbours[0])

    async with inbox.consuming():
        await inbox.has_applied(len(neighbours))
        await inbox.has_parked(len(GARBAGE))

    assert await inbox.source.ready() == 0
    rows = await parked(inbox.engine)
    for row, (name, (reason, headers, body)) in zip(rows, GARBAGE.items(), strict=True):
        assert (row.reason, row.body, row.attempts) == (reason, body, 1), name
        assert row.properties["headers"] == (headers or {}), name
        assert row.properties["delivery_mode"] == 2, name
        assert (row.exchange, row.routing_key) == ("users", "user.updated")
        assert row.error
        assert "@" not in row.error
        assert (datetime.now(UTC) - row.first_failed_at).total_seconds() < 120


class NotUtf8(str):
    """A text that goes over the wire in Latin-1, as a careless client would send it."""

    __slots__ = ()

    def encode(self, *_: Any, **__: Any) -> bytes:
        """Encode as Latin-1, for any requested encoding."""
        return super().encode("latin-1")


ODD_PROPERTIES = Basic.Properties(
    content_type="text/\0plain",
    content_encoding="gzip",
    headers={
        "not UTF-8": NotUtf8("\xff\xfe\x00"),
        "byte array": bytearray(b"\x80"),
        "nul": "a\0b",
        "na\0me": 1,
        "table": {"deep": {"deeper": [1, {"x": NotUtf8("\xff")}, NOON, None, True]}},
        "time": NOON,
        "decimal": Decimal("3.14"),
        "large": 2**62,
        "negative": -5,
        "unicode": "žluťoučký 🐴",
        "none": None,
    },
    priority=255,
    correlation_id="c",
    reply_to="r",
    expiration="3600000",
    message_id="m",
    timestamp=NOON,
    message_type="t",
    app_id="a",
)


async def test_odd_properties_are_parked_as_they_came(inbox: Inbox) -> None:
    body = bytes(range(256))

    async with inbox.consuming():
        await inbox.source.publish_raw(body, ODD_PROPERTIES, routing_key="user.od\0d")
        await inbox.source.publish(an_event(a_state()))
        await inbox.has_applied(1)
        [row] = await parked(inbox.engine)

    assert row.body == body
    assert row.routing_key == "user.od\N{SYMBOL FOR NULL}d"
    [text] = await fetch(inbox.engine, "SELECT properties::text AS json FROM parked_messages")
    assert _untagged(json.loads(text.json)) == _expected(ODD_PROPERTIES)


def _untagged(value: Any) -> Any:
    """Read back what parking wrote for values that JSON has no word for."""
    match value:
        case {"$bytes": text}:
            return base64.b64decode(text)
        case {"$timestamp": text}:
            return datetime.fromisoformat(text)
        case {"$decimal": text}:
            return Decimal(text)
        case {"$float": text}:
            return text
        case dict():
            return {name: _untagged(member) for name, member in value.items()}
        case list():
            return [_untagged(member) for member in value]
        case _:
            return value


def _expected(properties: Basic.Properties) -> dict[str, Any]:
    came: dict[str, Any] = {name: value for name, value in properties if value is not None}
    came["headers"] |= {
        "not UTF-8": b"\xff\xfe\x00",
        "byte array": b"\x80",
        "table": {"deep": {"deeper": [1, {"x": b"\xff"}, NOON, None, True]}},
    }
    return came


async def test_a_data_error_parks_only_its_message(inbox: Inbox) -> None:
    """The same message again adds to the attempts of its row."""
    bad = an_event(a_state(email="nul\0@example.org"))
    good = [an_event(a_state()) for _ in range(60)]
    await inbox.declare()
    await inbox.source.publish(*good[:30], bad, *good[30:50], bad, *good[50:])

    async with inbox.consuming():
        await inbox.has_applied(len(good))

    [row] = await parked(inbox.engine)
    assert (row.user_id, row.reason, row.attempts) == (bad.data.subject, "not_applicable", 2)
    assert row.last_failed_at >= row.first_failed_at
    assert row.body == bad.data.model_dump_json().encode()
    assert "@" not in row.error
    assert set(await replica_of(inbox.engine)) == {event.data.subject for event in good}
    assert await inbox.source.ready() == 0


async def test_a_message_that_the_schema_refuses_is_parked(inbox: Inbox) -> None:
    async with inbox.consuming():
        for number, sqlstate in enumerate(("22003", "23514"), start=1):
            bad, good = an_event(a_state()), an_event(a_state())
            await refuse_writes(inbox.engine, sqlstate, bad.data.subject)
            await inbox.source.publish(bad, good)
            await inbox.has_applied(number)
            await inbox.has_parked(number)
            row = (await parked(inbox.engine))[-1]
            assert row.user_id == bad.data.subject
            assert sqlstate in row.error
    await accept_writes(inbox.engine)


async def test_a_deletion_is_applied_from_its_headers_alone(inbox: Inbox) -> None:
    user_id = uuid4()
    tombstone = an_event(a_tombstone(user_id, 7))
    headers = _headers(tombstone, cloudEvents_dataschema="urn:usersync:schema:user.deleted:99")
    properties = Basic.Properties(headers=headers, delivery_mode=2)

    async with inbox.consuming():
        await inbox.source.publish(an_event(a_state(user_id, 3)))
        await inbox.source.publish_raw(b"\xff", properties, routing_key="user.deleted")
        await eventually(lambda: is_at(inbox.engine, user_id, 7))

    row = (await replica_of(inbox.engine))[user_id]
    assert (row.status, row.email, row.deleted_at) == ("deleted", None, NOON)
    assert await parked(inbox.engine) == []


async def test_the_dead_queue_is_emptied_into_the_parked_messages(inbox: Inbox) -> None:
    """However many there are: the broker's verdicts do not stop the consumer."""
    event = an_event(a_state())
    message = encode(event)

    async with inbox.consuming():
        for exchange, key in ((DEAD, event.type), ("", DEAD)):
            to: dict[str, str] = {"exchange": exchange, "routing_key": key}
            await inbox.source.publish_raw(message.body, message.properties, **to)
        await inbox.has_parked(2)
        rows = [(row.user_id, row.exchange, row.body) for row in await parked(inbox.engine)]
        for number in range(25):
            await inbox.source.publish_raw(b"%d" % number, exchange=DEAD)
        await inbox.has_parked(27)
        none_applied = await replica_of(inbox.engine)
        await inbox.source.publish(event)
        await inbox.has_applied(1)

    assert {row.reason for row in await parked(inbox.engine)} == {"dead_lettered"}
    assert rows == [(event.data.subject, exchange, message.body) for exchange in (DEAD, "")]
    assert none_applied == {}
    assert await inbox.source.ready(DEAD) == 0


async def test_parked_messages_between_applied_ones_are_not_in_a_row(inbox: Inbox) -> None:
    async with inbox.consuming():
        for number in range(inbox.settings.parked_in_a_row_max + 5):
            await inbox.source.publish_raw(b"garbage %d" % number)
            await inbox.has_parked(number + 1)
            await inbox.source.publish(an_event(a_state()))
            await inbox.has_applied(number + 1)
    assert await inbox.source.ready() == 0


async def test_alternating_errors_do_not_stop_the_consumer(inbox: Inbox) -> None:
    await inbox.declare()
    unreadable = Basic.Properties(headers=_headers(), delivery_mode=2)
    for number in range(12):
        await inbox.source.publish_raw(b"%d" % number)
        await inbox.source.publish_raw(b"%d" % number, unreadable)
    async with inbox.consuming():
        await inbox.has_parked(24)
    assert await inbox.source.ready() == 0
