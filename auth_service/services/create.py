"""Create a service account with its first API key, and delete one."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.secrets import Secrets
from auth_service.services.cut_off import cut_off, locked_service
from auth_service.services.keys import issue
from auth_service.services.model import (
    IssuedKey,
    ServiceNameTaken,
    demand_name,
    known_scopes,
    new_service_id,
)
from auth_service.services.table import service_accounts, to_service
from auth_service.users.administrators import demand_still


async def create_service(
    engine: AsyncEngine,
    secrets: Secrets,
    *,
    name: str,
    scopes: Collection[str],
    key_days: int,
    actor: str,
    administrator: UUID | None = None,
) -> IssuedKey:
    """Create a service account; its key is told here and never again.

    Parameters:
        key_days: after which the key stops working.
        actor: who does it, for the audit log.
        administrator: the user who has to be an administrator for it; None: a command does it.

    Raises:
        BadServiceName: the name is none.
        UnknownScope: a scope does not exist, or none was named.
        ServiceNameTaken: another account has the name.
        NoAdministrator: who does it is none any more.
    """
    demand_name(name)
    allowed = known_scopes(scopes)
    async with engine.begin() as connection:
        inserted = await connection.execute(
            insert(service_accounts)
            .values(id=new_service_id(), name=name, scopes=allowed)
            .on_conflict_do_nothing(index_elements=[service_accounts.c.name])
            .returning(service_accounts)
        )
        row = inserted.one_or_none()
        if row is None:
            raise ServiceNameTaken(f"there is a service account named {name} already")
        service = to_service(row)
        await demand_still(connection, administrator)
        await audit(
            connection,
            Action.SERVICE_CREATED,
            actor=actor,
            subject=service.id,
            name=name,
            scopes=allowed,
        )
        return await issue(connection, secrets, service, key_days=key_days, actor=actor)


async def delete_service(
    engine: AsyncEngine, service_id: str, *, actor: str, administrator: UUID | None = None
) -> None:
    """Delete a service account and its keys; its tokens are refused, elsewhere with the event.

    Parameters:
        actor: who does it, for the audit log.
        administrator: the user who has to be an administrator for it; None: a command does it.

    Raises:
        NoSuchService: there is none.
        NoAdministrator: who does it is none any more.
    """
    async with engine.begin() as connection:
        service = await locked_service(connection, service_id)
        await demand_still(connection, administrator)
        await cut_off(connection, service_id, status="deleted")
        await connection.execute(
            delete(service_accounts).where(service_accounts.c.id == service_id)
        )
        await audit(
            connection, Action.SERVICE_DELETED, actor=actor, subject=service_id, name=service.name
        )
