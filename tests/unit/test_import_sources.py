"""Lines of the exports of other systems, and lines that cannot be read."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from auth_service.imports.sources import SOURCES, Form, Unreadable, read_line, user_id
from auth_service.users.add_many import NewUser

NOW = datetime(2026, 11, 30, tzinfo=UTC)
GUIDE = Path(__file__).parents[2] / "docs" / "import-users.md"

BCRYPT = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
UUID_4 = "0b6f1c1e-4a3f-4e43-8a4a-8f0b8b3b4a52"


def read(record: Any, source: str = "usersync", **form: Any) -> NewUser:
    line = record if isinstance(record, bytes) else json.dumps(record).encode()
    return read_line(line, Form(source, source, **form), now=NOW)


def examples() -> dict[str, str]:
    """The lines in the guide, by system."""
    found = re.findall(r"^## [^\n]*`(\w+)`\n.*?^```json\n(.*?)^```", GUIDE.read_text(), re.M | re.S)
    return dict(found)


@pytest.mark.parametrize("source", SOURCES)
def test_each_example_in_the_guide_can_be_read(source: str) -> None:
    [line] = examples()[source].splitlines()
    user = read(line.encode(), source, separator="Bw==")
    assert user.email == "ada@example.org"
    assert user.created_at is not None or source in {"auth0"}
    assert not user.password_hash.startswith("$argon2")


def test_every_field_comes_along() -> None:
    user = read(
        {
            "id": UUID_4,
            "email": "Ada@Example.ORG",
            "email_verified": True,
            "status": "disabled",
            "created_at": "2020-01-31T12:00:00+01:00",
            "password_hash": BCRYPT,
        }
    )
    assert user == NewUser(
        id=UUID(UUID_4),
        email="ada@example.org",
        email_verified=True,
        status="disabled",
        created_at=datetime(2020, 1, 31, 11, tzinfo=UTC),
        password_hash=BCRYPT,
    )


@pytest.mark.parametrize(
    ("source", "record"),
    [
        ("usersync", {"id": 1, "email": "ada@example.org"}),
        ("django", {"pk": 1, "fields": {"email": "ada@example.org", "password": "!x"}}),
        ("devise", {"id": 1, "email": "ada@example.org", "encrypted_password": ""}),
        ("auth0", {"user_id": "google-oauth2|1", "email": "ada@example.org"}),
        ("firebase", {"localId": "x", "email": "ada@example.org"}),
        ("keycloak", {"id": UUID_4, "email": "ada@example.org"}),
    ],
)
def test_a_user_without_a_password_gets_a_hash_that_nobody_knows(source: str, record: Any) -> None:
    """They have signed in elsewhere; here they reset their password."""
    user = read(record, source)
    assert user.password_hash.startswith("$argon2id$")
    assert user.password_hash != read(record, source).password_hash
    assert user.status == "active"
    assert not user.email_verified


def test_disabled_users_stay_disabled() -> None:
    django = {"email": "ada@example.org", "password": "!", "is_active": False}
    assert read({"pk": 1, "fields": django}, "django").status == "disabled"
    for source, flag in (("auth0", "blocked"), ("firebase", "disabled")):
        record = {"localId": "x", "user_id": "x", "email": "ada@example.org", flag: True}
        assert read(record, source).status == "disabled"
    record = {"id": UUID_4, "email": "ada@example.org", "enabled": False}
    assert read(record, "keycloak").status == "disabled"


def test_an_address_of_auth0_may_be_among_its_identifiers() -> None:
    record = {
        "_id": {"$oid": "5dea9f9c82dd7c0e76e4ec93"},
        "identifiers": [
            {"type": "phone_number", "value": "+1"},
            {"type": "email", "value": "ada@example.org", "verified": True},
        ],
    }
    user = read(record, "auth0")
    assert (user.email, user.email_verified) == ("ada@example.org", True)
    assert user.id == user_id("auth0|5dea9f9c82dd7c0e76e4ec93", "auth0")
    other = read(record | {"alt_id": "euclid"}, "auth0")
    assert other.id == user_id("auth0|euclid", "auth0")


class TestIds:
    """An id stays the same, however often an export is read."""

    def test_a_uuid_is_kept(self) -> None:
        assert user_id(UUID_4.upper(), "x") == UUID(UUID_4)

    def test_any_other_id_leads_to_one_of_its_system(self) -> None:
        assert user_id("1", "shop") == user_id("1", "shop")
        assert len({user_id(text, name) for text in "12" for name in ("shop", "forum")}) == 4

    @pytest.mark.parametrize(
        "text", ["00000000-0000-0000-0000-000000000000", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"]
    )
    def test_a_uuid_that_ends_like_many_others_is_not_kept(self, text: str) -> None:
        """All users of one machine would be in one bucket."""
        assert user_id(text, "x").version == 5

    def test_without_an_id_the_database_gives_one_if_that_is_wanted(self) -> None:
        """By the address alone, a deleted user would come back."""
        for source in ("usersync", "auth0"):
            record = {"email": "ada@example.org"}
            assert read(record, source, without_ids=True).id is None
            with pytest.raises(Unreadable, match="there is no id"):
                read(record, source)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "object"),
        (b'{"email": "\xff@example.org"}', "Invalid JSON"),
        ({}, "email: Field required"),
        ({"email": 7}, "email: Input should be a valid string"),
        ({"id": 1, "email": "secret@example.org", "emailverified": True}, "emailverified: Extra"),
        ({"id": 1, "email": "secret@example.org", "secret@x": True}, "?: Extra"),
        (
            {"id": 1, "email": "secret@example.org", "email_verified": "yes"},
            "email_verified: Input",
        ),
        (
            {"id": 1, "email": "secret@example.org", "status": "secret"},
            "status: Input should be 'active'",
        ),
        ({"id": 1, "email": "secret@example.org", "created_at": "secret"}, "this is not a time"),
        ({"id": 1, "email": "secret@example.org", "created_at": "2027-01-01"}, "in the future"),
        ({"id": 1, "email": "secret@example.org", "created_at": "1969-12-31"}, "before 1970"),
        ({"id": 1, "email": "secret@@example.org"}, "the e-mail address is not valid"),
        ({"id": 1, "email": "secret@example.internal"}, "mail cannot reach it"),
        ({"id": 1, "email": "secret@example.org\n"}, "the e-mail address is not valid"),
        ({"id": 1, "email": "secret@example.org", "password_hash": "secret"}, "of no known kind"),
        ({"email": "secret@example.org", "id": ""}, "id"),
        ({"email": "secret@example.org", "id": "x" * 256}, "id"),
    ],
)
def test_a_line_that_cannot_be_read_is_explained_without_its_values(
    record: Any, reason: str
) -> None:
    with pytest.raises(Unreadable) as raised:
        read(record)
    assert reason in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_user_without_an_address_is_unreadable() -> None:
    """Firebase has users with a phone number only, Keycloak has service accounts."""
    for source, record in (("firebase", {"localId": "x"}), ("keycloak", {"id": UUID_4})):
        with pytest.raises(Unreadable, match="no e-mail address"):
            read(record, source)
