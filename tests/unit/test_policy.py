"""Who may do what: the table of role, owner and state."""

import itertools
from uuid import UUID, uuid4

from blog_service.policy import POSTS_WRITE, Action, Actor, Owned, Reach, may, reach
from replica.actors import Service, User

ADA, EVE = UUID(int=1), UUID(int=2)

OF_CONTENT = {Action.CHANGE_POST, Action.DELETE_POST, Action.CHANGE_COMMENT, Action.DELETE_COMMENT}
OF_ONESELF = OF_CONTENT | {Action.WRITE_POST, Action.WRITE_COMMENT, Action.CHANGE_PROFILE}

USERS: dict[tuple[tuple[str, ...], str], set[Action]] = {
    ((), "their own"): OF_ONESELF,
    ((), "another's"): set(),
    (("moderator",), "their own"): OF_ONESELF,
    (("moderator",), "another's"): OF_CONTENT,
    (("admin",), "their own"): OF_ONESELF,
    (("admin",), "another's"): OF_CONTENT,
    (("operator",), "their own"): OF_ONESELF,
    (("operator",), "another's"): set(),
    (("operator", "admin"), "another's"): OF_CONTENT,
    (("Admin", "editor", ""), "another's"): set(),
}
"""By roles and owner: all that a user may who is active or provisional."""

STATES = {"active": True, "provisional": True, "disabled": False, "deleted": False, "odd": False}
"""By status: whether a user may anything at all."""

SERVICES: dict[tuple[frozenset[str], str], set[Action]] = {
    (frozenset({POSTS_WRITE}), "their own"): {
        *(Action.WRITE_POST, Action.UPSERT_POST, Action.CHANGE_POST, Action.DELETE_POST)
    },
    (frozenset({POSTS_WRITE}), "another service's"): set(),
    (frozenset({POSTS_WRITE}), "a user's"): set(),
    (frozenset({"users:reconcile", "replays:write"}), "their own"): set(),
    (frozenset(), "their own"): set(),
}
"""By scopes and owner: all that a service may."""


def test_users() -> None:
    """Each cell of the table: a user with these roles and this status, and whose the thing is."""
    for ((roles, owner), allowed), (status, may_act) in itertools.product(
        USERS.items(), STATES.items()
    ):
        user = User(id=ADA, roles=roles, status=status)
        thing = Owned(ADA if owner == "their own" else EVE)
        found = {action for action in Action if may(user, action, thing)}
        assert found == (allowed if may_act else set()), (roles, owner, status)


def test_services() -> None:
    """Each cell of the table: a service with these scopes, and who keeps the thing."""
    keepers = {"their own": "svc_importer", "another service's": "svc_other", "a user's": None}
    for (scopes, owner), allowed in SERVICES.items():
        service, thing = Service(id="svc_importer", scopes=scopes), Owned(ADA, keepers[owner])
        found = {action for action in Action if may(service, action, thing)}
        assert found == allowed, (scopes, owner)


def test_a_post_that_a_service_keeps_is_its_authors_too() -> None:
    ada = User(id=ADA, roles=(), status="active")
    kept = Owned(ADA, "svc_importer")
    assert may(ada, Action.CHANGE_POST, kept)
    assert may(ada, Action.DELETE_POST, kept)
    assert not may(ada, Action.UPSERT_POST, kept)


def test_without_a_thing_only_who_may_with_anyones_may() -> None:
    """What one may do with one's own needs something of one's own."""
    everyone: list[Actor] = [
        *(User(id=uuid4(), roles=roles, status="active") for roles, _ in USERS),
        Service(id="svc_importer", scopes=frozenset({POSTS_WRITE})),
    ]
    for actor, action in itertools.product(everyone, Action):
        assert may(actor, action) is (reach(actor, action) is Reach.ANY)


def test_roles_add_up_and_take_nothing_away() -> None:
    roles = ("moderator", "admin", "operator", "editor")
    for action, size in itertools.product(Action, range(len(roles))):
        for few in itertools.combinations(roles, size):
            less = reach(User(id=ADA, roles=few, status="active"), action)
            for more in roles:
                user = User(id=ADA, roles=(*few, more), status="active")
                assert reach(user, action).value >= less.value
