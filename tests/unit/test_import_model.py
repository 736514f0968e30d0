"""What becomes of a line: new, the same as before, or in conflict."""

from uuid import UUID, uuid4

import pytest

from auth_service.imports import model
from auth_service.imports.model import Earlier, Outcome, Verdict, judge
from auth_service.users.add_many import NewUser, Present

ADA, BOB = uuid4(), uuid4()


def line(user_id: UUID | None, email: str) -> NewUser:
    return NewUser(
        id=user_id,
        email=email,
        email_verified=False,
        status="active",
        created_at=None,
        password_hash="x",
    )


PRESENT = Present(
    emails={ADA: "ada@example.org", BOB: None},
    ids={"ada@example.org": ADA},
    reserved=frozenset({"old@example.org"}),
)


@pytest.mark.parametrize(
    ("user", "verdict"),
    [
        (line(uuid4(), "new@example.org"), model.NEW),
        (line(None, "new@example.org"), model.NEW),
        (line(ADA, "ada@example.org"), model.SAME),
        (line(None, "ada@example.org"), model.SAME),
        (line(ADA, "changed@example.org"), model.OTHER_ADDRESS),
        (line(uuid4(), "ada@example.org"), model.taken(ADA)),
        (line(BOB, "bob@example.org"), model.DELETED),
        (line(uuid4(), "old@example.org"), model.RESERVED),
        (line(None, "old@example.org"), model.RESERVED),
    ],
)
def test_beside_those_who_are_there(user: NewUser, verdict: Verdict) -> None:
    assert judge(user, PRESENT, Earlier()) == verdict


@pytest.mark.parametrize(
    ("user", "verdict"),
    [
        (line(ADA, "ada@example.org"), model.SAME),
        (line(ADA, "other@example.org"), model.TWICE),
        (line(BOB, "ada@example.org"), model.TWICE),
        (line(None, "ada@example.org"), model.SAME),
        (line(BOB, "bob@example.org"), model.NEW),
    ],
)
def test_beside_an_earlier_line(user: NewUser, verdict: Verdict) -> None:
    earlier = Earlier()
    earlier.add(line(ADA, "ada@example.org"))
    assert judge(user, Present({}, {}, frozenset()), earlier) == verdict


def test_no_reason_has_an_address() -> None:
    for verdict in (model.DELETED, model.OTHER_ADDRESS, model.RESERVED, model.taken(ADA)):
        assert verdict.outcome is Outcome.CONFLICTING
        assert "@" not in (verdict.reason or "")
