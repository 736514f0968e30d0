"""Who may do what: the table of role, owner and state."""

import itertools
from uuid import UUID, uuid4

import pytest

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
        Action.WRITE_POST,
        Action.UPSERT_POST,
        Action.CHANGE_POST,
        Action.DELETE_POST,
    },
    (frozenset({POSTS_WRITE}), "another service's"): set(),
    (frozenset({POSTS_WRITE}), "a user's"): set(),
    (frozenset({"users:reconcile", "replays:write"}), "their own"): set(),
    (frozenset(), "their own"): set(),
}
"""By scopes and owner: all that a service may."""


@pytest.mark.parametrize("status", STATES)
@pytest.mark.parametrize(("roles", "owner"), USERS)
def test_users(roles: tuple[str, ...], owner: str, status: str) -> None:
    """Each cell of the table: a user with these roles and this status, and whose the thing is."""
    user = User(id=ADA, roles=roles, status=status)
    thing = Owned(ADA if owner == "their own" else EVE)
    allowed = {action for action in Action if may(user, action, thing)}
    assert allowed == (USERS[roles, owner] if STATES[status] else set())


@pytest.mark.parametrize(("scopes", "owner"), SERVICES)
def test_services(scopes: frozenset[str], owner: str) -> None:
    """Each cell of the table: a service with these scopes, and who keeps the thing."""
    service = Service(id="svc_importer", scopes=scopes)
    keepers = {"their own": "svc_importer", "another service's": "svc_other", "a user's": None}
    thing = Owned(ADA, keepers[owner])
    allowed = {action for action in Action if may(service, action, thing)}
    assert allowed == SERVICES[scopes, owner]


def test_a_post_that_a_service_keeps_is_its_authors_too() -> None:
    ada = User(id=ADA, roles=(), status="active")
    kept = Owned(ADA, "svc_importer")
    assert may(ada, Action.CHANGE_POST, kept)
    assert may(ada, Action.DELETE_POST, kept)
    assert not may(ada, Action.UPSERT_POST, kept)


@pytest.mark.parametrize("action", Action)
def test_without_a_thing_only_who_may_with_anyones_may(action: Action) -> None:
    """What one may do with one's own needs something of one's own."""
    everyone: list[Actor] = [
        *(User(id=uuid4(), roles=roles, status="active") for roles, _ in USERS),
        Service(id="svc_importer", scopes=frozenset({POSTS_WRITE})),
    ]
    for actor in everyone:
        assert may(actor, action) is (reach(actor, action) is Reach.ANY)


def test_roles_add_up_and_take_nothing_away() -> None:
    """A further role never lets a user do less."""
    roles = ("moderator", "admin", "operator", "editor")
    for action, size in itertools.product(Action, range(len(roles))):
        for few in itertools.combinations(roles, size):
            less = reach(User(id=ADA, roles=few, status="active"), action)
            for more in roles:
                user = User(id=ADA, roles=(*few, more), status="active")
                assert reach(user, action).value >= less.value
