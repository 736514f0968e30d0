"""Who calls, and which of them may operate a replica. Pure."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

MAY_ACT: Final = ("active", "provisional")
"""The statuses of users who may do anything at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user who acts, with the roles and the status of their row in the replica."""

    id: UUID
    roles: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service that acts, ``svc_…``."""

    id: str
    scopes: frozenset[str]


def may_operate(user: User) -> bool:
    """Whether ``user`` may see and handle what is parked, compared and replayed."""
    return user.status in MAY_ACT and "operator" in user.roles


def may_list_users(user: User) -> bool:
    """Whether ``user`` may list the replica's users."""
    return user.status in MAY_ACT and "admin" in user.roles
