"""Which users may operate a replica, and which may list its users."""

import itertools
from uuid import uuid4

from replica.actors import User, may_list_users, may_operate

ROLES = ["operator", "admin", "moderator", "Operator", "Admin", ""]
STATES = {"active": True, "provisional": True, "disabled": False, "deleted": False, "odd": False}
"""By status: whether a user may do anything at all."""


def test_the_role_and_the_status_decide() -> None:
    """Exactly the role by its name, and no role of a user who is disabled or deleted."""
    for roles in ((), *itertools.combinations(ROLES, 1), ("admin", "operator")):
        for status, may_act in STATES.items():
            user = User(id=uuid4(), roles=roles, status=status)
            assert may_operate(user) is (may_act and "operator" in roles), (roles, status)
            assert may_list_users(user) is (may_act and "admin" in roles), (roles, status)
