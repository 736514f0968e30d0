"""Describe the events as an AsyncAPI 3.0 document, for consumers in any language. Pure.

The document says for each type of event its exchange, routing key, headers, data and an example,
and for each queue of a consumer its arguments and bindings. Names, arguments and schemas come from
where the code has them; nothing is said twice. ``asyncapi.json`` is the checked-in result.

AsyncAPI's binding for AMQP has no place for a queue's arguments and bindings: they are in the
extensions ``x-arguments`` and ``x-bindings``.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, get_args

from contracts.events import dataschema, names, queues
from contracts.events.envelope import ATTRIBUTE_LENGTH_MAX, CONTENT_TYPE, SPEC_VERSION
from contracts.events.models import (
    Event,
    KeyRevoked,
    ServiceChanged,
    UserDeleted,
    UserEvent,
    UserUpdated,
)
from contracts.events.write_definitions import CONSUMERS, VHOST

SERVICE: Final = "{service}"
"""Stands for the name of a consuming service, such as ``blog``."""

_EVENTS: Final[tuple[Any, ...]] = get_args(Event)
_OF_USERS: Final[tuple[Any, ...]] = get_args(UserEvent)
_ALL: Final = tuple(event.type for event in _EVENTS)
_URGENT: Final = tuple(
    event.type for event in (UserUpdated, UserDeleted, KeyRevoked, ServiceChanged)
)
_REPLAYED: Final = tuple(event.type for event in _OF_USERS)

_BINDING: Final = {"bindingVersion": "0.3.0"}

_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "specversion": {"const": SPEC_VERSION},
    "id": {"type": "string", "format": "uuid", "description": "the same in every redelivery"},
    "source": {
        "type": "string",
        "minLength": 1,
        "maxLength": ATTRIBUTE_LENGTH_MAX,
        "description": "the issuer",
    },
    "type": {},
    "time": {
        "type": "string",
        "format": "date-time",
        "description": "when it was recorded, by the clock of the source's database; UTC",
    },
    "dataschema": {},
    "sequence": {
        "type": "string",
        "pattern": "^[0-9]{20}$",
        "description": "position in the source's log; not the order of commits",
    },
    "subject": {"type": "string", "format": "uuid", "description": "the user's id"},
    "subjectversion": {
        "type": "string",
        "pattern": "^[0-9]{16}$",
        "description": "the user's version; the higher one wins",
    },
    "traceparent": {
        "type": "string",
        "description": "W3C Trace Context of the request that caused the event",
    },
}
"""The CloudEvents attributes, each in a header ``cloudEvents_<name>``."""

_OPTIONAL: Final = frozenset({"sequence", "traceparent"})
_OF_A_USER: Final = ("subject", "subjectversion")

_INFO: Final = """\
The source of users publishes what happened to them; any number of services keep a copy. Events are
CloudEvents 1.0 in binary mode over AMQP 0-9-1: attributes in headers, data as the JSON body.

Consumers ignore headers and fields that they do not know. Versions decide, never times: of two
states of a user, the higher `(deleted, version)` wins. First publications of one user's events are
in order, except that urgent ones overtake; every event may arrive more than once."""


def document(examples: Path) -> dict[str, Any]:
    """Return the AsyncAPI document.

    Parameters:
        examples: the folder of example messages, each named for its event's type.
    """
    return {
        "asyncapi": "3.0.0",
        "id": "urn:usersync:events",
        "info": {
            "title": "usersync events",
            "version": "1",
            "description": _INFO,
            "license": {"name": "MIT"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {"broker": _broker()},
        "channels": {**_of_types(), **_of_copies(), **_of_queues(SERVICE)},
        "operations": _operations(),
        "components": {
            "messages": {event.type: _message(event.type, event, examples) for event in _EVENTS},
            "securitySchemes": {
                "account": {
                    "type": "plain",
                    "description": "Each service has an account with rights to its own queues.",
                }
            },
        },
    }


def _broker() -> dict[str, Any]:
    return {
        "host": "{host}",
        "pathname": f"/{VHOST}",
        "protocol": "amqp",
        "protocolVersion": "0-9-1",
        "description": "RabbitMQ; with TLS the protocol is amqps.",
        "variables": {"host": {"default": "localhost:5672", "description": "address and port"}},
        "security": [{"$ref": "#/components/securitySchemes/account"}],
    }


def _of_types() -> dict[str, Any]:
    """A channel for each type of event, whose routing key is the type."""
    return {
        kind: {
            "address": kind,
            "title": kind,
            "messages": _messages([kind]),
            "bindings": {"amqp": _routed(names.EXCHANGE)},
        }
        for kind in _ALL
    }


def _of_copies() -> dict[str, Any]:
    """The channels of urgent events and of replays."""
    return {
        "urgent": {
            "address": names.URGENT_BINDING,
            "title": "copies of urgent events",
            "description": (
                "The broker makes a copy of deletions, disabled users, ended sessions, revoked"
                " keys and changes of service accounts. Every event is also sent by its type."
            ),
            "messages": _messages(_URGENT),
            "bindings": {"amqp": _routed(names.EXCHANGE)},
        },
        "replay": {
            "address": SERVICE,
            "title": "replays for one service",
            "description": (
                "Recorded events again, or the current state of users; delivered to one service."
            ),
            "parameters": _parameters(),
            "messages": _messages(_REPLAYED),
            "bindings": {"amqp": _routed(names.REPLAY_EXCHANGE)},
        },
    }


def _of_queues(service: str) -> dict[str, Any]:
    """The queues that a consuming service declares."""
    bindings = [_bound(names.EXCHANGE, key) for key in names.BINDINGS]
    dead = {"exchange": names.dead_queue(service), "exchangeType": "fanout", "routingKey": ""}
    return {
        "queue.live": _queue(
            queues.live_queue(service),
            "live events",
            "A service binds what it wants; it must bind before the source records the first"
            " event of a type, because an event that no queue accepts waits at the source.",
            _ALL,
            bindings,
        ),
        "queue.urgent": _queue(
            queues.urgent_queue(service),
            "copies of urgent events, read before all others",
            "Optional: what it loses is in the queue of live events.",
            _URGENT,
            [_bound(names.EXCHANGE, names.URGENT_BINDING)],
        ),
        "queue.replay": _queue(
            queues.replay_queue(service),
            "replays for this service",
            "Optional: without it no replay can be sent to the service.",
            _REPLAYED,
            [_bound(names.REPLAY_EXCHANGE, service)],
        ),
        "queue.dead": _queue(
            queues.dead_queue(service),
            "messages that the broker gave up on",
            "The service declares the fanout exchange of the same name.",
            _ALL,
            [dead],
        ),
    }


def _queue(
    queue: queues.Queue, title: str, description: str, types: Iterable[str], bindings: list[Any]
) -> dict[str, Any]:
    return {
        "address": queue["name"],
        "title": title,
        "description": description,
        "parameters": _parameters(),
        "messages": _messages(types),
        "bindings": {
            "amqp": {
                "is": "queue",
                "queue": {
                    "name": queue["name"],
                    "durable": queue["durable"],
                    "exclusive": False,
                    "autoDelete": False,
                    "vhost": VHOST,
                    "x-arguments": queue["arguments"],
                },
                "x-bindings": bindings,
                **_BINDING,
            }
        },
    }


def _routed(exchange: str) -> dict[str, Any]:
    return {
        "is": "routingKey",
        "exchange": {
            "name": exchange,
            "type": names.EXCHANGE_TYPES[exchange],
            "durable": True,
            "autoDelete": False,
            "vhost": VHOST,
        },
        **_BINDING,
    }


def _bound(exchange: str, key: str) -> dict[str, str]:
    return {
        "exchange": exchange,
        "exchangeType": names.EXCHANGE_TYPES[exchange],
        "routingKey": key,
    }


def _parameters() -> dict[str, Any]:
    return {
        "service": {
            "description": "The consuming service: the prefix of its queues.",
            "examples": list(CONSUMERS),
        }
    }


def _messages(types: Iterable[str]) -> dict[str, Any]:
    return {kind: {"$ref": f"#/components/messages/{kind}"} for kind in types}


def _operations() -> dict[str, Any]:
    sent = {"amqp": {"deliveryMode": 2, "mandatory": True, **_BINDING}}
    urgent = {"amqp": {**sent["amqp"], "bcc": [names.URGENT_BINDING]}}
    received = {"amqp": {"ack": True, **_BINDING}}
    return {
        **{
            f"publish.{kind}": _operation(
                "send",
                kind,
                f"The source publishes {kind}.",
                urgent if kind in _URGENT and kind != UserUpdated.type else sent,
            )
            for kind in _ALL
        },
        "publish.replay": _operation("send", "replay", "The source replays events.", sent),
        "consume.live": _operation("receive", "queue.live", "A service reads events.", received),
        "consume.urgent": _operation(
            "receive", "queue.urgent", "A service reads urgent events first.", received
        ),
        "consume.replay": _operation(
            "receive", "queue.replay", "A service reads replays.", received
        ),
    }


def _operation(action: str, channel: str, summary: str, bindings: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "bindings": bindings,
    }


def _message(kind: str, event: type, examples: Path) -> dict[str, Any]:
    example = json.loads((examples / f"{kind}.json").read_text())
    major = dataschema(kind).rpartition(":")[2]
    return {
        "name": kind,
        "title": kind,
        "summary": (event.__doc__ or "").splitlines()[0],
        "contentType": CONTENT_TYPE,
        "headers": _headers(kind, of_a_user=event in _OF_USERS),
        "payload": {"$ref": f"schemas/{kind}.v{major}.json"},
        "examples": [{"headers": example["headers"], "payload": example["body"]}],
    }


def _headers(kind: str, *, of_a_user: bool) -> dict[str, Any]:
    """The schema of the headers of one type of event."""
    exact = {"type": {"const": kind}, "dataschema": {"const": dataschema(kind)}}
    attributes = {
        name: {**schema, **exact.get(name, {})}
        for name, schema in _HEADERS.items()
        if of_a_user or name not in _OF_A_USER
    }
    return {
        "type": "object",
        "properties": {f"cloudEvents_{name}": schema for name, schema in attributes.items()},
        "required": [f"cloudEvents_{name}" for name in attributes if name not in _OPTIONAL],
    }
