"""Change another user's roles or status, as an administrator.

One transaction: the user's locked row, the next version, the event, and the audit entries.

Guarantees: disabling a user ends their sessions and has their tokens refused, here at once and at
other services with the event; enabling restores none of them. A change that changes nothing records
nothing. There is always an active administrator.

Not here: deleting a user (``delete``).
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.users.administrators import (
    is_administrator,
    require_administrator,
    require_another_administrator,
)
from auth_service.users.model import Status, User
from auth_service.users.table import TOKENS_VALID_FROM_NOW
from auth_service.users.transaction import change_user, lock_user


async def administer(
    engine: AsyncEngine,
    user_id: UUID,
    *,
    actor: str,
    administrator: UUID | None = None,
    roles: Collection[str] | None = None,
    status: Status | None = None,
) -> User:
    """Set the user's roles and status, each if given, and record ``user.updated``.

    Parameters:
        actor: for the audit log.
        administrator: the user who must be an administrator; None for a command.
        roles: all roles after the change, each as ``contracts.events`` allows; stored sorted, each
            once.

    Raises:
        NoSuchUser: there is no such user, or they were deleted.
        LastAdministrator: the change would leave no active administrator.
        NoAdministrator: ``administrator`` no longer is one.
    """
    async with engine.begin() as connection:
        user = await lock_user(connection, user_id)
        await require_administrator(connection, administrator)
        wanted = replace(
            user,
            roles=user.roles if roles is None else tuple(sorted(set(roles))),
            status=status or user.status,
        )
        if wanted == user:
            return user
        if is_administrator(user) and not is_administrator(wanted):
            await require_another_administrator(connection, user_id)
        values: dict[str, Any] = {"roles": wanted.roles, "status": wanted.status}
        if (user.status, wanted.status) == ("active", "disabled"):
            values["tokens_valid_after"] = TOKENS_VALID_FROM_NOW
            await end_sessions(connection, user_id, EndReason.DISABLED)
        changed = await change_user(connection, user_id, **values)
        await audit_changes(connection, user, changed, actor=actor)
    return changed


async def audit_changes(
    connection: AsyncConnection, before: User, after: User, *, actor: str
) -> None:
    """Record in the audit log which roles were granted and revoked, and a change of status."""
    if before.roles != after.roles:
        await audit(
            connection,
            Action.ROLES_CHANGED,
            actor=actor,
            subject=after.id,
            granted=sorted(set(after.roles) - set(before.roles)),
            revoked=sorted(set(before.roles) - set(after.roles)),
        )
    if before.status != after.status:
        action = Action.USER_DISABLED if after.status == "disabled" else Action.USER_ENABLED
        await audit(connection, action, actor=actor, subject=after.id)
