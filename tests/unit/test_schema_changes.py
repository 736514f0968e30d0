"""Which changes of a JSON schema break those who read or write its data."""

from typing import Any

import pytest

from compatibility.schemas import NotCompared, Schema, Use, changes

USER = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "integer", "minimum": 1, "maximum": 9},
        "status": {"enum": ["active", "disabled"], "type": "string"},
        "email": {"type": "string", "pattern": "@"},
        "roles": {"type": "array", "items": {"$ref": "#/$defs/Role"}},
        "until": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
    },
    "$defs": {"Role": {"type": "string", "maxLength": 10}},
}


def broken(use: Use, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    found = changes(Schema(old, old), Schema(new, new), use, "event x")
    return [change.what for change in found]


def user(**fields: Any) -> dict[str, Any]:
    """The schema with other fields; None removes one."""
    properties = {**USER["properties"], **fields}  # type: ignore[dict-item]
    return {**USER, "properties": {n: s for n, s in properties.items() if s is not None}}


def field(**schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}}


def test_the_same_schema_breaks_nothing() -> None:
    assert broken(Use.READ, USER, USER) == broken(Use.WRITE, USER, USER) == []


def test_what_breaks_readers_is_named() -> None:
    for new, expected in (
        (user(email=None), "`email` is gone"),
        (user(id={"type": "string"}), "`id` was of type integer and is of type string"),
        (user(id={"type": "number"}), "`id` was of type integer and is of type number"),
        ({**USER, "required": []}, "`id` may be missing now"),
        (user(status={"type": "string", "enum": ["active"]}), "`status` lost the value 'disabled'"),
        (
            user(status={"type": "string", "enum": ["active", "disabled", "new"]}),
            "`status` has the new value 'new'",
        ),
        (
            user(status={"type": "string"}),
            "`status` may have other values than 'active', 'disabled' now",
        ),
        (
            user(id={"type": "integer", "minimum": 0, "maximum": 9}),
            "minimum of `id` was 1 and is 0",
        ),
        (
            user(id={"type": "integer", "minimum": 1}),
            "maximum of `id` was 9 and is not limited",
        ),
        (user(email={"type": "string"}), "pattern of `email` was '@' and is not limited"),
        (
            {**USER, "$defs": {"Role": {"type": "string", "maxLength": 11}}},
            "maxLength of `roles[]` was 10 and is 11",
        ),
        (
            user(email={"anyOf": [{"type": "string", "pattern": "@"}, {"type": "null"}]}),
            "`email` may be null now",
        ),
        (user(email={"type": ["string", "null"], "pattern": "@"}), "`email` may be null now"),
        (
            user(email={"anyOf": [{"type": "string", "pattern": "@"}, {"type": "integer"}]}),
            "`email` has a new form, of type integer",
        ),
    ):
        assert broken(Use.READ, USER, new) == [expected], new


def test_what_readers_do_not_notice_is_compatible() -> None:
    for new in (
        user(nickname={"type": "string"}),
        {**user(nickname={"type": "string"}), "required": ["id", "nickname"]},
        {**USER, "title": "Person", "description": "Other words"},
        user(id={"type": "integer", "minimum": 2, "maximum": 8}),
        user(until={"type": "string", "format": "date-time"}),
        user(email={"type": "string", "pattern": "@", "minLength": 3}),
    ):
        assert broken(Use.READ, USER, new) == [], new


def test_what_breaks_writers_is_named() -> None:
    for new, expected in (
        (user(email=None), "`email` is gone"),
        ({**USER, "required": ["id", "email"]}, "`email` is required now"),
        (user(id={"type": "string"}), "`id` was of type integer and is of type string"),
        (user(status={"type": "string", "enum": ["active"]}), "`status` lost the value 'disabled'"),
        (
            user(email={"type": "string", "pattern": "@", "maxLength": 5}),
            "maxLength of `email` was not limited and is 5",
        ),
        (
            user(email={"type": "string", "pattern": "@.+"}),
            "pattern of `email` was '@' and is '@.+'",
        ),
        (
            user(until={"type": "string", "format": "date-time"}),
            "`until` must not be null any more",
        ),
        ({**USER, "additionalProperties": False}, "the data must not have other fields any more"),
    ):
        assert broken(Use.WRITE, USER, new) == [expected], new
    assert broken(Use.WRITE, field(type="string"), field(type="string", enum=["a"])) == [
        "`a` must be one of 'a' now"
    ]


def test_what_accepts_more_is_compatible_with_writers() -> None:
    for new in (
        user(nickname={"type": "string"}),
        user(id={"type": "number", "minimum": 0}),
        user(email={"type": "string"}),
        user(status={"type": "string", "enum": ["active", "disabled", "new"]}),
        user(status={}),
        {**USER, "required": []},
    ):
        assert broken(Use.WRITE, USER, new) == [], new


def test_a_schema_within_itself_ends() -> None:
    tree = {
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
            }
        },
        "$ref": "#/$defs/Node",
    }
    assert broken(Use.READ, tree, tree) == []


def test_an_unknown_keyword_that_differs_is_refused() -> None:
    """Rather than judged wrongly."""
    old, new = field(type="object", minContains=1), field(type="object", minContains=2)
    assert broken(Use.READ, old, new) == ["minContains of `a` was 1 and is 2"]


def test_parts_of_a_schema_are_compared_together() -> None:
    both = {"allOf": [{"$ref": "#/$defs/Role"}, {"pattern": "a"}], "$defs": USER["$defs"]}
    longer = {**both, "$defs": {"Role": {"type": "string", "maxLength": 11}}}
    assert broken(Use.READ, both, both) == []
    assert broken(Use.READ, both, longer) == ["maxLength of the data was 10 and is 11"]
    assert broken(Use.READ, {"type": "string", "maxLength": 10, "pattern": "a"}, both) == []


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (
            {"allOf": [field(type="string"), {"properties": {"b": {"type": "string"}}}]},
            "event x: `f` has properties more than once by allOf",
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}], "maxLength": 5},
            "event x: `f` has maxLength beside anyOf",
        ),
        (
            {"$ref": "#/$defs/Role", "maxLength": 5},
            "event x: `f` has maxLength more than once by $ref",
        ),
        (
            {"allOf": [{"anyOf": [{"type": "string"}, {"type": "null"}]}]},
            "event x: `f` has alternatives within allOf",
        ),
    ],
)
def test_a_shape_that_has_no_rules_is_refused(schema: dict[str, Any], message: str) -> None:
    """Rather than that a keyword of it is dropped, and its change passes."""
    whole = user(f=schema)
    with pytest.raises(NotCompared) as refused:
        broken(Use.READ, whole, whole)
    assert str(refused.value).startswith(message)
