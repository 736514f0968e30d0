"""Disable a service account, or enable it again.

Guarantees: a disabled account gets no token, and those that it has are refused, here at once and
elsewhere with the event; enabling brings none of them back. A change that changes nothing records
nothing.
"""

from dataclasses import replace
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.services.cut_off import cut_off, locked_service
from auth_service.services.model import NoSuchService, ServiceAccount, Status
from auth_service.services.table import service_accounts
from auth_service.users.administrators import demand_still


async def set_status(
    engine: AsyncEngine,
    service: str,
    status: Status,
    *,
    actor: str,
    administrator: UUID | None = None,
) -> ServiceAccount:
    """Give the account this status, and record ``service.changed`` if it had another.

    Parameters:
        service: the account's id or name.
        actor: who does it, for the audit log.
        administrator: the user who has to be an administrator for it; None: a command does it.

    Raises:
        NoSuchService: there is no such account.
        NoAdministrator: who does it is none any more.
    """
    named = or_(service_accounts.c.id == service, service_accounts.c.name == service)
    async with engine.begin() as connection:
        service_id = await connection.scalar(select(service_accounts.c.id).where(named))
        if service_id is None:
            raise NoSuchService(f"there is no service account {service}")
        account = await locked_service(connection, service_id)
        await demand_still(connection, administrator)
        if account.status == status:
            return account
        await cut_off(connection, service_id, status=status)
        action = Action.SERVICE_DISABLED if status == "disabled" else Action.SERVICE_ENABLED
        await audit(connection, action, actor=actor, subject=service_id, name=account.name)
    return replace(account, status=status)
