"""Who may do what. Pure, the one place that decides, and what it does not name nobody may.

An actor's *reach* is whose things he may do something with: his own, anyone's or nobody's. ``may``
asks about one thing at hand; ``ownership`` puts the reach into the statement that writes as well,
so that no mistake on the way lets one write what is another's.

Users act by their roles and their status as their rows of the replica say now, services by the
scopes of their tokens alone; a service never has a user's rights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, TypeAlias
from uuid import UUID

POSTS_WRITE: Final = "posts:write"
"""The scope of services that keep posts for authors."""


class Action(StrEnum):
    """What one may want to do."""

    WRITE_POST = "write a post"
    KEEP_POST = "keep a post in step with what it was made from"
    CHANGE_POST = "change a post"
    DELETE_POST = "delete a post"
    WRITE_COMMENT = "write a comment"
    CHANGE_COMMENT = "change a comment"
    DELETE_COMMENT = "delete a comment"
    CHANGE_PROFILE = "change a profile"
    LIST_USERS = "list the replica's users"
    OPERATE = "see to what is parked, compared and replayed"


class Reach(Enum):
    """Whose things an actor may do something with."""

    NOBODYS = 0
    OWN = 1
    ANYONES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user who acts."""

    id: UUID
    roles: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service that acts, ``svc_…``."""

    id: str
    scopes: frozenset[str]


Actor: TypeAlias = User | Service


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose a thing is: its author's and, where a service keeps it for him, the service's too."""

    author_id: UUID
    service_id: str | None = None


_OWN: Final = frozenset(
    {
        Action.WRITE_POST,
        Action.CHANGE_POST,
        Action.DELETE_POST,
        Action.WRITE_COMMENT,
        Action.CHANGE_COMMENT,
        Action.DELETE_COMMENT,
        Action.CHANGE_PROFILE,
    }
)
_ANYONES_BY_ROLE: Final[Mapping[str, frozenset[Action]]] = {
    "moderator": (
        _MODERATING := frozenset(
            {
                Action.CHANGE_POST,
                Action.DELETE_POST,
                Action.CHANGE_COMMENT,
                Action.DELETE_COMMENT,
            }
        )
    ),
    "admin": _MODERATING | {Action.LIST_USERS},
    "operator": frozenset({Action.OPERATE}),
}
_OWN_BY_SCOPE: Final[Mapping[str, frozenset[Action]]] = {
    POSTS_WRITE: frozenset(
        {Action.WRITE_POST, Action.KEEP_POST, Action.CHANGE_POST, Action.DELETE_POST}
    ),
}
_MAY_ACT: Final = ("active", "provisional")


def reach(actor: Actor, action: Action) -> Reach:
    """Whose things ``actor`` may do this with."""
    if isinstance(actor, Service):
        granted = (_OWN_BY_SCOPE.get(scope, frozenset()) for scope in actor.scopes)
        return Reach.OWN if any(action in actions for actions in granted) else Reach.NOBODYS
    if actor.status not in _MAY_ACT:
        return Reach.NOBODYS
    if any(action in _ANYONES_BY_ROLE.get(role, frozenset()) for role in actor.roles):
        return Reach.ANYONES
    return Reach.OWN if action in _OWN else Reach.NOBODYS


def may(actor: Actor, action: Action, thing: Owned | None = None) -> bool:
    """Whether ``actor`` may do this with ``thing``; without one, with whatever there is."""
    match reach(actor, action):
        case Reach.ANYONES:
            return True
        case Reach.OWN:
            return thing is not None and _is_own(actor, thing)
        case Reach.NOBODYS:
            return False


def _is_own(actor: Actor, thing: Owned) -> bool:
    if isinstance(actor, Service):
        return thing.service_id == actor.id
    return thing.author_id == actor.id
