"""Which users may operate a replica, and which may list its users."""

import itertools
from uuid import uuid4

import pytest

from replica.actors import User, may_list_users, may_operate

ROLES = ["operator", "admin", "moderator", "Operator", "Admin", ""]
STATES = {"active": True, "provisional": True, "disabled": False, "deleted": False, "odd": False}
"""By status: whether a user may do anything at all."""


@pytest.mark.parametrize("status", STATES)
@pytest.mark.parametrize(
    "roles",
    [*itertools.combinations(ROLES, 0), *itertools.combinations(ROLES, 1), ("admin", "operator")],
)
def test_the_role_and_the_status_decide(roles: tuple[str, ...], status: str) -> None:
    """Exactly the role by its name, and no role of a user who is disabled or deleted."""
    user = User(id=uuid4(), roles=roles, status=status)
    assert may_operate(user) is (STATES[status] and "operator" in roles)
    assert may_list_users(user) is (STATES[status] and "admin" in roles)
