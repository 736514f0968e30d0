"""Decide who may do what. Pure; the only place that decides, and it denies all it does not list.

The *reach* of an actor says whose content an action may touch: none, their own, or any. ``may``
decides about one object. ``authorization`` also puts the reach into the SQL that writes, so that a
mistake elsewhere cannot let anyone write what belongs to another user.

The rights of a user come from the roles and status in the replica, read for each request. The
rights of a service come from the scopes of its token alone; a service never has a user's rights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, TypeAlias
from uuid import UUID

from replica.actors import MAY_ACT, Service, User

POSTS_WRITE: Final = "posts:write"
"""The scope of services that write posts for authors."""


class Action(StrEnum):
    """An action that needs permission."""

    WRITE_POST = "write a post"
    UPSERT_POST = "create or update a post from an external source"
    CHANGE_POST = "change a post"
    DELETE_POST = "delete a post"
    WRITE_COMMENT = "write a comment"
    CHANGE_COMMENT = "change a comment"
    DELETE_COMMENT = "delete a comment"
    CHANGE_PROFILE = "change a profile"


class Reach(Enum):
    """Whose content an actor may take an action on."""

    NONE = 0
    OWN = 1
    ANY = 2


Actor: TypeAlias = User | Service


@dataclass(frozen=True, slots=True)
class Owned:
    """Who owns a piece of content: its author, and the service that wrote it for them, if any."""

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
    "admin": _MODERATING,
}
_OWN_BY_SCOPE: Final[Mapping[str, frozenset[Action]]] = {
    POSTS_WRITE: frozenset(
        {Action.WRITE_POST, Action.UPSERT_POST, Action.CHANGE_POST, Action.DELETE_POST}
    ),
}


def reach(actor: Actor, action: Action) -> Reach:
    """Return whose content ``actor`` may take this action on."""
    if isinstance(actor, Service):
        granted = (_OWN_BY_SCOPE.get(scope, frozenset()) for scope in actor.scopes)
        return Reach.OWN if any(action in actions for actions in granted) else Reach.NONE
    if actor.status not in MAY_ACT:
        return Reach.NONE
    if any(action in _ANYONES_BY_ROLE.get(role, frozenset()) for role in actor.roles):
        return Reach.ANY
    return Reach.OWN if action in _OWN else Reach.NONE


def may(actor: Actor, action: Action, thing: Owned | None = None) -> bool:
    """Tell whether ``actor`` may take this action on ``thing``; without a thing, on any."""
    match reach(actor, action):
        case Reach.ANY:
            return True
        case Reach.OWN:
            return thing is not None and _is_own(actor, thing)
        case Reach.NONE:
            return False


def _is_own(actor: Actor, thing: Owned) -> bool:
    if isinstance(actor, Service):
        return thing.service_id == actor.id
    return thing.author_id == actor.id
