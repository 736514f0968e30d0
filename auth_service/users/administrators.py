"""There is always an administrator: the last one can be taken away by nobody.

Guarantees: two administrators who take each other away at the same time do not both succeed, since
the question is asked and the change committed by one transaction after the other.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import any_, exists, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.users.model import LastAdministrator, User
from auth_service.users.table import users

ADMINISTRATOR: Final = "admin"
"""The role whose holders may do what is under ``/v1/admin``."""

_ONE_AT_A_TIME: Final = 0x61646D696E
"""Key of the advisory lock: "admin" in ASCII."""


def is_administrator(user: User) -> bool:
    """Whether the user may administer others; one who is disabled may not."""
    return ADMINISTRATOR in user.roles and user.status == "active"


async def demand_another(connection: AsyncConnection, user_id: UUID) -> None:
    """Refuse unless someone besides ``user_id`` is an active administrator.

    Asked before an administrator is demoted, disabled or deleted, with his row locked already and
    nothing else to be locked afterwards, so that two transactions never wait for each other.

    Raises:
        LastAdministrator: there is nobody else.
    """
    await connection.execute(select(func.pg_advisory_xact_lock(_ONE_AT_A_TIME)))
    # A statement of its own: it sees what was committed while it waited for the lock.
    another = select(
        exists().where(
            users.c.id != user_id,
            users.c.status == "active",
            literal(ADMINISTRATOR) == any_(users.c.roles),
        )
    )
    if not await connection.scalar(another):
        raise LastAdministrator
