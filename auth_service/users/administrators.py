"""Who administers: the last one can be taken away by nobody, and a former one does nothing more.

Guarantees: two administrators who take each other away at the same time do not both succeed, since
the question is asked and the change committed by one transaction after the other. A request that
waited for a lock while its administrator was demoted is refused: otherwise, with many requests
that give them the role, one of them would be waiting at that moment, and give it back.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import any_, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.users.model import LastAdministrator, NoAdministrator, User
from auth_service.users.table import users

ADMINISTRATOR: Final = "admin"
"""The role whose holders may do what is under ``/v1/admin``."""

_ONE_AT_A_TIME: Final = 0x61646D696E
"""Key of the advisory lock: "admin" in ASCII."""

_ACTIVE: Final = select(users.c.id).where(
    users.c.status == "active", literal(ADMINISTRATOR) == any_(users.c.roles)
)


def is_administrator(user: User) -> bool:
    """Whether the user may administer others; one who is disabled may not."""
    return ADMINISTRATOR in user.roles and user.status == "active"


async def demand_still(connection: AsyncConnection, administrator: UUID | None) -> None:
    """Refuse unless the user who asks is an active administrator at this moment.

    Asked in the transaction of what they want, after its locks are held: their token and role were
    looked at before it waited for them.

    Parameters:
        administrator: who asks; None: an operator's command, which needs no role.

    Raises:
        NoAdministrator: they were demoted, disabled or deleted meanwhile.
    """
    if administrator is not None:
        row = (await connection.execute(_ACTIVE.where(users.c.id == administrator))).one_or_none()
        if row is None:
            raise NoAdministrator


async def demand_another(connection: AsyncConnection, user_id: UUID) -> None:
    """Refuse unless someone besides ``user_id`` is an active administrator.

    Asked before an administrator is demoted, disabled or deleted, with his row locked already and
    nothing else to be locked afterwards, so that two transactions never wait for each other.

    Raises:
        LastAdministrator: there is nobody else.
    """
    await connection.execute(select(func.pg_advisory_xact_lock(_ONE_AT_A_TIME)))
    # A statement of its own: it sees what was committed while it waited for the lock.
    if not await connection.scalar(select(_ACTIVE.where(users.c.id != user_id).exists())):
        raise LastAdministrator
