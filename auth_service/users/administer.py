"""What administrators change of others: roles, and whether they are disabled.

One transaction: the user's row, locked, his next version, the event, and the audit log's entries.

Guarantees: a disabled user's sessions end and the tokens that he holds are refused, here at once
and at other services as soon as they have the event; enabling brings none of them back. A change
that changes nothing records nothing. There is always an active administrator.

Not here: deleting a user (``delete``).
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.users.administrators import demand_another, demand_still, is_administrator
from auth_service.users.change import change
from auth_service.users.lock import locked_user
from auth_service.users.model import User
from auth_service.users.table import TOKENS_VALID_FROM_NOW

Status = Literal["active", "disabled"]


async def administer(
    engine: AsyncEngine,
    user_id: UUID,
    *,
    actor: str,
    administrator: UUID | None = None,
    roles: Collection[str] | None = None,
    status: Status | None = None,
) -> User:
    """Give the user these roles and this status, where they are given, and record ``user.updated``.

    Parameters:
        actor: who does it, for the audit log.
        administrator: the user who has to be an administrator for it; None: a command does it.
        roles: all that he shall have, each of them as ``contracts.events`` allows; kept sorted,
            each once.

    Raises:
        NoSuchUser: there is none, or he was deleted.
        LastAdministrator: he is, and would not be one any longer.
        NoAdministrator: who does it is none any more.
    """
    async with engine.begin() as connection:
        user = await locked_user(connection, user_id)
        await demand_still(connection, administrator)
        wanted = replace(
            user,
            roles=user.roles if roles is None else tuple(sorted(set(roles))),
            status=status or user.status,
        )
        if wanted == user:
            return user
        if is_administrator(user) and not is_administrator(wanted):
            await demand_another(connection, user_id)
        values: dict[str, Any] = {"roles": wanted.roles, "status": wanted.status}
        if (user.status, wanted.status) == ("active", "disabled"):
            values["tokens_valid_after"] = TOKENS_VALID_FROM_NOW
            await end_sessions(connection, user_id, EndReason.DISABLED)
        changed = await change(connection, user_id, **values)
        await audit_changes(connection, user, changed, actor=actor)
    return changed


async def audit_changes(
    connection: AsyncConnection, before: User, after: User, *, actor: str
) -> None:
    """Write down which roles and which status a change has given and taken."""
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
