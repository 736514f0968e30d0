"""Keep the last administrator, and stop requests of former administrators.

Guarantees: two administrators who demote each other at the same time do not both succeed, because
the check and the change are committed together, one transaction after the other. A request that
waited for a lock while its administrator was demoted is refused. Otherwise a demoted administrator
could get the role back through a request of their own that was waiting for the lock.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import any_, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.users.model import LastAdministrator, NoAdministrator, User
from auth_service.users.table import users

ADMINISTRATOR: Final = "admin"
"""The role that allows everything under ``/v1/admin``."""

_LOCK_KEY: Final = 0x61646D696E
"""Key of the advisory lock: "admin" in ASCII."""

_ACTIVE: Final = select(users.c.id).where(
    users.c.status == "active", literal(ADMINISTRATOR) == any_(users.c.roles)
)


def is_administrator(user: User) -> bool:
    """Whether the user may administer others; a disabled user may not."""
    return ADMINISTRATOR in user.roles and user.status == "active"


async def require_administrator(connection: AsyncConnection, administrator: UUID | None) -> None:
    """Refuse unless ``administrator`` is an active administrator at this moment.

    Call it in the transaction of the requested change, after its locks are taken: token and role
    were checked before the request waited for them.

    Parameters:
        administrator: the requesting user; None for an operator's command, which needs no role.

    Raises:
        NoAdministrator: they were demoted, disabled or deleted in the meantime.
    """
    if administrator is not None:
        row = (await connection.execute(_ACTIVE.where(users.c.id == administrator))).one_or_none()
        if row is None:
            raise NoAdministrator


async def require_another_administrator(connection: AsyncConnection, user_id: UUID) -> None:
    """Refuse unless a user other than ``user_id`` is an active administrator.

    Call it before an administrator is demoted, disabled or deleted, with their row locked and
    nothing left to lock, so that two transactions never wait for each other.

    Raises:
        LastAdministrator: there is no other.
    """
    await connection.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))
    # A statement of its own: it sees what was committed while it waited for the lock.
    if not await connection.scalar(select(_ACTIVE.where(users.c.id != user_id).exists())):
        raise LastAdministrator
