"""Users of the source's response are validated before PostgreSQL gets them."""

from typing import Any

import pytest

from contracts.events import EMAIL_LENGTH_MAX, ROLES_MAX, VERSION_MAX
from replica.reconcile.staging import _in_text_format, _row
from tests.support.tables import one_by_one

USER: dict[str, Any] = {
    "id": "0b9d3f9a-58c5-4c8e-9a36-9a1f5c0f7a03",
    "version": 1,
    "email": "ada@example.org",
    "email_verified": True,
    "roles": [],
    "status": "active",
    "tokens_valid_after": None,
    "created_at": "2026-01-01T12:00:00.000000Z",
    "updated_at": "2026-01-01T12:00:00.000000Z",
}


def test_what_an_event_may_contain_is_staged() -> None:
    for changes in (
        {},
        {"email": "a@b"},
        {"email": "z" * EMAIL_LENGTH_MAX},
        {"version": VERSION_MAX, "status": "disabled"},
        {"roles": ["r"] * ROLES_MAX},
        {"tokens_valid_after": "2026-01-01T12:00:00Z"},
    ):
        assert _in_text_format([_row(USER | changes)]).count("\t") == 10, changes


def test_only_what_copy_would_misread_is_escaped() -> None:
    plain, odd = _row(USER), _row(USER | {"email": "a\tb\\N@c\r\n"})
    lines = _in_text_format([plain, odd, plain]).split("\n")
    assert lines[0] == lines[2] == "\t".join(plain)
    assert lines[1].split("\t")[2] == r"a\tb\\N@c\r\n"
    assert lines[3:] == [""]
    assert _in_text_format([]) == ""


REFUSED: list[tuple[str, list[Any]]] = [
    ("email", ["", "ab", "z" * (EMAIL_LENGTH_MAX + 1), "ada\0@example.org"]),
    ("version", [0, VERSION_MAX + 1, "1", True]),
    ("status", ["deleted", "gone"]),
    ("roles", [["r"] * (ROLES_MAX + 1)]),
    ("created_at", [""]),
    ("updated_at", ["infinity", "-infinity"]),
    ("tokens_valid_after", ["infinity", ""]),
]


@pytest.mark.parametrize(("name", "value"), one_by_one(REFUSED))
def test_what_no_event_may_contain_never_reaches_postgresql(name: str, value: Any) -> None:
    """Its log would keep the rejected row longer than the user's account exists."""
    with pytest.raises(ValueError, match=r"^$"):
        _row(USER | {name: value})
