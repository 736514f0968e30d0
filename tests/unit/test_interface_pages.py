"""The pages show everything that the documents have."""

import json
import re
from pathlib import Path

from compatibility.pages import events, http
from compatibility.pages.fields import fields, table

CONTRACTS = Path(__file__).parents[2] / "contracts"


def test_a_page_has_every_operation_parameter_and_problem_code() -> None:
    for path in (CONTRACTS / "openapi").glob("*.json"):
        document = json.loads(path.read_text())
        shown = "\n".join(http.page(document, "x.json"))
        for template, item in document["paths"].items():
            for method, operation in item.items():
                title = f"### [{method.upper()}]{{.method .{method}}} `{template}`"
                assert title in shown, title
                section = shown.partition(title)[2].partition("\n### ")[0]
                for parameter in operation.get("parameters", ()):
                    assert f"`{parameter['name']}`" in section, title
                assert operation["summary"] in section
        codes = set(re.findall(r'"code": "(\w+)"', path.read_text()))
        assert [code for code in codes if f"`{code}`" not in shown] == []


def test_the_page_of_events_has_every_name() -> None:
    document = json.loads((CONTRACTS / "events/asyncapi.json").read_text())
    messages = document["components"]["messages"]
    for message in messages.values():
        file = CONTRACTS / "events" / message["payload"]["$ref"]
        message["payload"] = json.loads(file.read_text())

    shown = "\n".join(events.page(document, "x.json"))

    names = {channel["address"] for channel in document["channels"].values()} | messages.keys()
    arguments = document["channels"]["queue.live"]["bindings"]["amqp"]["queue"]["x-arguments"]
    fields = messages["user.created"]["payload"]["properties"]
    assert [name for name in (*names, *arguments, *fields) if f"`{name}`" not in shown] == []


def test_fields_of_lists_references_and_alternatives_are_shown() -> None:
    document = {
        "User": {
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {"type": "string", "format": "uuid", "description": "First\n\nSecond"},
                "until": {"anyOf": [{"type": "integer", "maximum": 9}, {"type": "null"}]},
            },
        }
    }
    schema = {"properties": {"users": {"type": "array", "items": {"$ref": "#/User"}}}}
    assert fields(schema, document) == [
        ("`users`", "list of object", "", ""),
        ("`users[].id`", "UUID", "required", "First"),
        ("`users[].until`", "integer, at most 9 or null", "", ""),
    ]


def test_a_cell_may_contain_a_bar() -> None:
    assert [*table(("a",), [("x|y",)])][2] == r"| x\|y |"
    assert [*table(("a",), [])] == []
