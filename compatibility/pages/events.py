"""Show the AsyncAPI document as a page. Pure."""

import json
from collections.abc import Iterator
from typing import Any

from compatibility.pages.fields import Json, fields, table


def page(document: Json, source: str) -> Iterator[str]:
    """Yield the lines of the page.

    Parameters:
        document: the AsyncAPI document with the schemas that it refers to.
        source: the path of its file, as the page links to it.
    """
    yield "# Events: the topology and all messages\n"
    yield f"Generated from the {{download}}`AsyncAPI document <{source}>` (3.0), which code"
    yield "generators read. [Events on the wire](../events.md) says what they mean,"
    yield "[what may change](../contracts.md) what consumers can rely on.\n"
    yield f"{document['info']['description']}\n"
    yield "## Exchanges and routing keys\n"
    yield from _routing_keys(document["channels"])
    yield "## Queues\n"
    yield "`{service}` stands for the name of the consuming service, such as `blog`.\n"
    for channel in document["channels"].values():
        if (binding := channel["bindings"]["amqp"])["is"] == "queue":
            yield from _queue(channel, binding)
    yield "## Messages\n"
    for name, message in document["components"]["messages"].items():
        yield from _message(name, message)


def _routing_keys(channels: Json) -> Iterator[str]:
    rows = []
    for channel in channels.values():
        exchange = channel["bindings"]["amqp"].get("exchange")
        if exchange:
            named = f"`{exchange['name']}` ({exchange['type']}, durable)"
            carried = _listed(channel["messages"])
            rows.append((named, f"`{channel['address']}`", carried))
    yield from table(("exchange", "routing key", "events"), rows)


def _queue(channel: Json, binding: Json) -> Iterator[str]:
    yield f"### `{channel['address']}`\n"
    title = str(channel["title"])
    yield f"{title[0].upper()}{title[1:]}. {channel.get('description', '')}\n"
    yield from table(
        ("bound to", "by routing key"),
        [
            (f"`{each['exchange']}` ({each['exchangeType']})", f"`{each['routingKey'] or ' '}`")
            for each in binding["x-bindings"]
        ],
    )
    arguments = binding["queue"]["x-arguments"]
    yield from table(("argument", "value"), [(f"`{k}`", f"`{v}`") for k, v in arguments.items()])


def _message(name: str, message: Json) -> Iterator[str]:
    yield f"### `{name}`\n"
    yield f"{message['summary']}\n"
    yield from table(("data", "type", "", "meaning"), fields(message["payload"], {}))
    yield "<details><summary>Headers</summary>\n"
    yield from table(("header", "type", "", "meaning"), fields(message["headers"], {}))
    yield "</details>\n"
    yield "<details><summary>Example</summary>\n"
    for part in ("headers", "payload"):
        yield from _code(message["examples"][0][part])
    yield "</details>\n"


def _code(value: Any) -> Iterator[str]:
    yield f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```\n"


def _listed(names: Json) -> str:
    return ", ".join(f"`{name}`" for name in names)
