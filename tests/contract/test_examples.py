"""Golden messages: the current code writes exactly these bytes and can still read them."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest

import contracts
from contracts import events
from contracts.events.envelope import decode, encode
from contracts.events.names import EXCHANGE

CONTRACTS = Path(contracts.__file__).parent / "events"
EXAMPLES = CONTRACTS / "examples"

SOURCE = "https://auth.example"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ADA = UUID("7f9c24e8-3b12-4fef-91e0-56a2d5a1c3b4")
SIGNED_UP = datetime.fromisoformat("2026-01-01T12:00:00.123456Z")
CHANGED = datetime.fromisoformat("2026-01-02T08:30:00Z")
DELETED = datetime.fromisoformat("2026-01-03T09:00:00.500Z")

CREATED_EVENT = events.UserCreated(
    id=UUID("0b9d3f9a-58c5-4c8e-9a36-9a1f5c0f7a01"),
    source=SOURCE,
    time=datetime.fromisoformat("2026-01-01T12:00:00.123457Z"),
    sequence=41,
    traceparent=TRACE,
    data=events.UserState(
        id=ADA,
        version=1767268800123456,
        email="ada@example.org",
        email_verified=False,
        roles=(),
        status="active",
        tokens_valid_after=None,
        created_at=SIGNED_UP,
        updated_at=SIGNED_UP,
    ),
)
UPDATED_EVENT = events.UserUpdated(
    id=UUID("0b9d3f9a-58c5-4c8e-9a36-9a1f5c0f7a02"),
    source=SOURCE,
    time=CHANGED,
    sequence=1042,
    traceparent=TRACE,
    data=events.UserState(
        id=ADA,
        version=1767342600000000,
        email="zoë@bücher.example",
        email_verified=True,
        roles=("admin", "moderator"),
        status="disabled",
        tokens_valid_after=datetime.fromisoformat("2026-01-02T08:30:01Z"),
        created_at=SIGNED_UP,
        updated_at=CHANGED,
    ),
)
DELETED_EVENT = events.UserDeleted(
    id=UUID("0b9d3f9a-58c5-4c8e-9a36-9a1f5c0f7a03"),
    source=SOURCE,
    time=DELETED,
    sequence=2001,
    data=events.UserTombstone(id=ADA, version=1767430800500000, deleted_at=DELETED),
)
HEARTBEAT = events.Heartbeat(
    id=UUID("0b9d3f9a-58c5-4c8e-9a36-9a1f5c0f7a04"),
    source=SOURCE,
    time=datetime.fromisoformat("2026-01-03T09:00:15Z"),
    sequence=2002,
    data=events.Beat(number=17),
)
KEY_REVOKED = events.KeyRevoked(
    id=UUID("0b9d3f9a-58c5-4c8e-9a36-9a1f5c0f7a05"),
    source=SOURCE,
    time=datetime.fromisoformat("2026-01-03T09:03:20Z"),
    sequence=2003,
    data=events.RevokedKey(
        kid="NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
        revoked_at=datetime.fromisoformat("2026-01-03T09:03:19.750Z"),
    ),
)
SERVICE_CHANGED = events.ServiceChanged(
    id=UUID("0b9d3f9a-58c5-4c8e-9a36-9a1f5c0f7a06"),
    source=SOURCE,
    time=datetime.fromisoformat("2026-01-03T09:04:10Z"),
    sequence=2004,
    data=events.ServiceState(
        client_id="svc_4fJk0Zr9QmWc2xLp",
        version=1767431050000000,
        status="disabled",
        tokens_valid_after=datetime.fromisoformat("2026-01-03T09:04:11Z"),
    ),
)

OF_USERS = (CREATED_EVENT, UPDATED_EVENT, DELETED_EVENT)
WRITTEN: dict[str, events.Event] = {
    event.type: event for event in (*OF_USERS, HEARTBEAT, KEY_REVOKED, SERVICE_CHANGED)
}
"""The golden messages that this version writes."""

ALSO_READ: dict[str, events.Event] = {
    "user.updated.alternative-spelling": UPDATED_EVENT,
    "user.updated.tomorrow": UPDATED_EVENT,
}
"""Golden messages that it only reads: the other spelling of headers, and newer fields."""


@dataclass(frozen=True)
class Example:
    """A message as the broker carries it: exchange, routing key, properties, headers and body."""

    exchange: str
    routing_key: str
    properties: dict[str, Any]
    headers: dict[str, Any]
    body: bytes

    @classmethod
    def named(cls, name: str) -> "Example":
        document = json.loads((EXAMPLES / f"{name}.json").read_text())
        # The file is indented for readers; the message itself is compact.
        body = json.dumps(document.pop("body"), ensure_ascii=False, separators=(",", ":"))
        return cls(**document, body=body.encode())


def test_every_event_type_has_an_example() -> None:
    """A new type needs a golden message, and every golden message belongs to a type."""
    files = {path.stem for path in EXAMPLES.glob("*.json")} - {"access_token"}
    assert {event.type for event in WRITTEN.values()} == events.DATA_OF.keys()
    assert files == WRITTEN.keys() | ALSO_READ.keys()


@pytest.mark.parametrize(("name", "event"), (WRITTEN | ALSO_READ).items())
def test_an_example_decodes_to_its_event(name: str, event: events.Event) -> None:
    """Unknown fields are ignored."""
    example = Example.named(name)
    read = decode(example)
    assert read == event
    assert type(read) is type(event)


@pytest.mark.parametrize(("name", "event"), WRITTEN.items())
def test_an_event_encodes_to_its_example(name: str, event: events.Event) -> None:
    """Header order, body and properties match byte for byte."""
    example = Example.named(name)

    message = encode(event)

    assert list(message.headers.items()) == list(example.headers.items())
    assert message.body == example.body
    assert example.properties == {
        "content_type": message.content_type,
        "delivery_mode": message.delivery_mode,
        "message_id": message.message_id,
    }
    assert (example.exchange, example.routing_key) == (EXCHANGE, event.type)


@pytest.mark.parametrize(("name", "event"), (WRITTEN | ALSO_READ).items())
def test_the_data_of_an_example_match_the_schema(name: str, event: events.Event) -> None:
    """A consumer in another language validates with the schema alone."""
    schema = json.loads((CONTRACTS / "schemas" / f"{event.type}.v1.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())

    problems = [
        error.message for error in checker.iter_errors(json.loads(Example.named(name).body))
    ]

    assert not problems


@pytest.mark.parametrize("name", WRITTEN)
def test_an_example_matches_the_asyncapi_document(name: str) -> None:
    """Exchange, routing key and headers; a header that is missing or unlike is rejected."""
    document = json.loads((CONTRACTS / "asyncapi.json").read_text())
    example = Example.named(name)
    channel = document["channels"][name]
    message = document["components"]["messages"][name]

    headers = jsonschema.Draft202012Validator(
        message["headers"], format_checker=jsonschema.FormatChecker()
    )

    assert channel["address"] == example.routing_key
    assert channel["bindings"]["amqp"]["exchange"]["name"] == example.exchange
    assert message["contentType"] == example.properties["content_type"]
    assert headers.is_valid(example.headers)
    assert example.headers.keys() <= message["headers"]["properties"].keys()
    for header in message["headers"]["required"]:
        assert not headers.is_valid({k: v for k, v in example.headers.items() if k != header})


@pytest.mark.parametrize(("name", "event"), WRITTEN.items())
def test_the_schema_rejects_data_without_a_required_field(name: str, event: events.Event) -> None:
    schema = json.loads((CONTRACTS / "schemas" / f"{event.type}.v1.json").read_text())
    data = json.loads(Example.named(name).body)
    checker = jsonschema.Draft202012Validator(schema)
    for field in data:
        without = {other: value for other, value in data.items() if other != field}
        assert not checker.is_valid(without)


@pytest.mark.parametrize(("name", "event"), (WRITTEN | ALSO_READ).items())
def test_an_older_consumer_reads_a_newer_message(name: str, event: events.Event) -> None:
    """Unknown attributes and fields at any level are ignored."""
    example = Example.named(name)
    body = json.dumps({"nickname": "ada", **json.loads(example.body), "extra": {"deep": [1, {}]}})
    headers = example.headers | {"cloudEvents_authtype": "user", "x-anything": [1, {"a": 2}]}
    newer = Example("users", event.type, {}, headers, body.encode())
    assert decode(newer) == event
