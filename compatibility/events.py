"""Compare two AsyncAPI documents of the events. Pure.

Compatible are new types of events, queues and bindings, optional headers and fields. Anything else
about the topology is not: the broker refuses to declare an exchange or a queue with other
arguments, and consumers have bound what they know.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from compatibility.change import Change
from compatibility.schemas import Json, Schema, Use
from compatibility.schemas import changes as schema_changes

_KEEP: Final = "consumers rely on it: keep it until the next major version"
_EXISTS: Final = (
    "the broker refuses it where it exists: keep it, or declare another one under a new name"
)
_BOUND: Final = "messages would stop to arrive: keep the binding"
_AS_BEFORE: Final = "consumers rely on it: keep the value"


def changes(old: Json, new: Json) -> Iterator[Change]:
    """Yield what broke between two documents, whose references to other files are resolved."""
    yield from _messages(old, new)
    yield from _channels(old, new)
    yield from _operations(old, new)


def _messages(old: Json, new: Json) -> Iterator[Change]:
    olds, news = (side["components"]["messages"] for side in (old, new))
    for kind, was in olds.items():
        name, now = f"event {kind}", news.get(kind)
        if now is None:
            yield Change(name, "the type is gone", _KEEP)
            continue
        if was.get("contentType") != now.get("contentType"):
            yield _differs(name, "contentType", was.get("contentType"), now.get("contentType"))
        for part, whole in (("headers", "the headers"), ("payload", "the data")):
            schemas = Schema(was[part], old), Schema(now[part], new)
            named = f"{name}, headers" if part == "headers" else name
            yield from schema_changes(*schemas, Use.READ, named, whole)


def _channels(old: Json, new: Json) -> Iterator[Change]:
    for key, was in old["channels"].items():
        binding = was["bindings"]["amqp"]
        name = f"queue {was['address']}" if binding["is"] == "queue" else f"routing key {key}"
        now = new["channels"].get(key)
        if now is None:
            yield Change(name, "it is gone", _KEEP)
            continue
        if was["address"] != now["address"]:
            yield _differs(name, "address", was["address"], now["address"])
        for kind in was["messages"].keys() - now["messages"].keys():
            yield Change(name, f"events of type {kind} do not arrive there any more", _KEEP)
        yield from _binding(name, binding, now["bindings"]["amqp"])


def _binding(name: str, was: Json, now: Json) -> Iterator[Change]:
    for part in ("exchange", "queue"):
        yield from _exact(f"{name}, {part}", was.get(part, {}), now.get(part, {}))
    for bound in was.get("x-bindings", ()):
        if bound not in now.get("x-bindings", ()):
            what = f"it is not bound to {bound['exchange']} by `{bound['routingKey']}` any more"
            yield Change(name, what, _BOUND)


def _exact(name: str, was: Json, now: Json) -> Iterator[Change]:
    """Values that must be equal; arguments of a queue one by one."""
    for key in sorted(was.keys() | now.keys()):
        old, new = was.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _exact(name, old, new)
        elif old != new:
            yield Change(name, f"{key} was {_said(old)} and is {_said(new)}", _EXISTS)


def _operations(old: Json, new: Json) -> Iterator[Change]:
    for key, was in old["operations"].items():
        name, now = f"operation {key}", new["operations"].get(key)
        if now is None:
            yield Change(name, "it is gone", _KEEP)
            continue
        for part in ("action", "channel"):
            if was[part] != now[part]:
                yield _differs(name, part, was[part], now[part])
        before, after = (side.get("bindings", {}).get("amqp", {}) for side in (was, now))
        for part in sorted((before.keys() | after.keys()) - {"bindingVersion"}):
            if before.get(part) != after.get(part):
                yield _differs(name, part, before.get(part), after.get(part))


def _differs(name: str, part: str, was: Any, now: Any) -> Change:
    return Change(name, f"{part} was {_said(was)} and is {_said(now)}", _AS_BEFORE)


def _said(value: Any) -> str:
    return "not set" if value is None else str(value)
