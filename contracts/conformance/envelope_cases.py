"""Messages to read, valid and invalid, each with what a consumer does about it.

What follows is computed by ``contracts.events.envelope``: the row in which the message ends,
nothing, or the reason for which it is parked.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from contracts.conformance.messages import (
    NOON,
    Message,
    a_state,
    a_tombstone,
    id_of,
    message,
    of_state,
    row_of,
)
from contracts.events import UserEvent
from contracts.events.envelope import BODY_BYTES_MAX, Undecodable, decode

_NEVER: Final = "0b9d3f9a-58c5-4c8e-9a36-9a1f5c0f7a09"


@dataclass(frozen=True)
class _Delivered:
    headers: Mapping[str, Any]
    body: bytes


def cases() -> list[dict[str, Any]]:
    """All cases; no two are about the same user."""
    return [
        {"name": name, "user": str(id_of(name)), "message": sent.as_json(), "result": _result(sent)}
        for name, sent in [*_valid(), *_invalid()]
    ]


def _result(sent: Message) -> dict[str, Any]:
    try:
        event = decode(_Delivered({k: _python(v) for k, v in sent.headers.items()}, sent.octets))
    except Undecodable as error:
        return {"parked": error.fault.value}
    return {"row": row_of(event.data) if isinstance(event, UserEvent) else None}


def _python(value: Any) -> Any:
    """A header's value as an AMQP library returns it."""
    return datetime.fromtimestamp(value["timestamp"], UTC) if isinstance(value, dict) else value


def _valid() -> Iterator[tuple[str, Message]]:
    yield _state("created", kind="user.created")
    yield _state("all fields", **_ALL_FIELDS)
    yield _headers("the other spelling of header names", _other_spelling)
    yield _data("an unknown field of the data is ignored", locale="de")
    yield _headers("an unknown header is ignored", lambda h: h | {"cloudEvents_tomorrow": "new"})
    for form in ("2026-01-01T14:00:00+02:00", "2026-01-01t12:00:00.5z", "2026-06-30T23:59:60Z"):
        yield _data(f"a time as {form}", updated_at=form)
    yield _headers("a version as a number", lambda h: h | {"cloudEvents_subjectversion": 5})
    yield _headers("no version in the headers", _without("subjectversion"))
    yield _headers("no schema in the headers", _without("dataschema"))
    yield _headers("no sequence in the headers", _without("sequence"))
    yield _state("the highest version", version=2**53 - 1)
    yield _deletion("a deletion as it is sent")
    yield _deletion("a deletion is read from its headers alone", body="no longer JSON")
    yield _deletion("a deletion by a later schema", dataschema="urn:usersync:schema:user.deleted:2")
    yield _deletion("a deletion at an AMQP timestamp", time={"timestamp": 1767268800})
    for kind, payload in _ABOUT_NO_USER.items():
        yield kind, message(kind, kind, json.dumps(payload), NOON)


def _invalid() -> Iterator[tuple[str, Message]]:
    yield _headers("no CloudEvent", lambda _: {})
    yield _headers("an older CloudEvents", lambda h: h | {"cloudEvents_specversion": "0.3"})
    yield _headers("an unknown type", lambda h: h | {"cloudEvents_type": "user.renamed"})
    yield _headers(
        "an unknown schema",
        lambda h: h | {"cloudEvents_dataschema": "urn:usersync:schema:user.updated:2"},
    )
    for name, value in _BAD_HEADERS:
        attribute = f"cloudEvents_{name}"
        shown = "nothing" if value is None else _shown(value)
        change = _without(name) if value is None else (lambda h, a=attribute, v=value: h | {a: v})
        yield _headers(f"{name} is {shown}", change)
    yield _deletion("a deletion without a version", subjectversion=None)
    for name, value in _BAD_DATA:
        yield _data(f"{name} of the data is {_shown(value)}", **{name: value})
    for body in ("", "[]", "{", "null"):
        yield _with_body(f"the body is {body or 'empty'}", body)
    yield _with_body("the body is not UTF-8", {"base64": "eyJpZCI6Iv8ifQ=="})
    yield _with_body("the body is too large", {"repeat": " ", "times": BODY_BYTES_MAX + 1})


_ALL_FIELDS: Final[dict[str, Any]] = {
    "email": "zoë@bücher.example",
    "email_verified": True,
    "roles": ("moderator", "admin", 'quoted "role"', "back\\slash", "comma,"),
    "status": "disabled",
    "tokens_valid_after": NOON,
    "updated_at": NOON.replace(microsecond=123456),
}

_ABOUT_NO_USER: Final = {
    "sync.heartbeat": {"number": 17},
    "key.revoked": {"kid": "a-key-of-the-vectors", "revoked_at": "2026-01-01T12:00:00Z"},
    "service.changed": {
        "client_id": "svc_vectors",
        "version": 1,
        "status": "active",
        "tokens_valid_after": "2026-01-01T12:00:00Z",
    },
}

_BAD_HEADERS: Final[tuple[tuple[str, Any], ...]] = (
    ("id", None),
    ("id", "7"),
    ("source", None),
    ("source", ""),
    ("source", "x" * 513),
    ("time", None),
    ("time", "yesterday"),
    ("subject", None),
    ("subject", "ada"),
    ("subject", 7),
    ("sequence", "-1"),
    ("subjectversion", "0"),
    ("subjectversion", "1.5"),
    ("subjectversion", str(2**53)),
    ("subjectversion", True),
    ("subjectversion", "6"),
    ("subject", _NEVER),
)
"""The last two are valid by themselves, and contradict the data."""

_BAD_DATA: Final[tuple[tuple[str, Any], ...]] = (
    ("version", 0),
    ("version", "5"),
    ("version", 5.5),
    ("version", 2**53),
    ("email", None),
    ("email", "a@"),
    ("email", "x" * 321),
    ("email_verified", "true"),
    ("roles", "admin"),
    ("roles", [""]),
    ("roles", [7]),
    ("status", "deleted"),
    ("created_at", None),
    ("created_at", "2026-01-01T12:00:00"),
    ("updated_at", "2026-02-30T12:00:00Z"),
)


def _state(
    name: str, *, kind: str = "user.updated", version: int = 5, **changes: Any
) -> tuple[str, Message]:
    return name, of_state(name, a_state(name, version, **changes), kind)


def _headers(name: str, change: Any) -> tuple[str, Message]:
    _, sent = _state(name)
    return name, replace(sent, headers=change(dict(sent.headers)))


def _data(name: str, **changes: Any) -> tuple[str, Message]:
    _, sent = _state(name)
    return name, replace(sent, body=json.dumps(json.loads(sent.octets) | changes))


def _with_body(name: str, body: Any) -> tuple[str, Message]:
    _, sent = _state(name)
    return name, replace(sent, body=body)


def _deletion(name: str, body: str | None = None, **attributes: Any) -> tuple[str, Message]:
    sent = of_state(name, a_tombstone(name, 6))
    headers = dict(sent.headers)
    for attribute, value in attributes.items():
        headers[f"cloudEvents_{attribute}"] = value
        if value is None:
            del headers[f"cloudEvents_{attribute}"]
    return name, replace(sent, headers=headers, body=sent.body if body is None else body)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 50 else f"{len(value)} characters"


def _without(attribute: str) -> Any:
    return lambda headers: {k: v for k, v in headers.items() if k != f"cloudEvents_{attribute}"}


def _other_spelling(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("cloudEvents_", "cloudEvents:"): value for name, value in headers.items()}
