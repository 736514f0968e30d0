"""Create a service account with its first API key, and delete one."""

from collections.abc import Collection

from sqlalchemy import delete, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.secrets import Secrets
from auth_service.services.keys import issue
from auth_service.services.model import (
    IssuedKey,
    NoSuchService,
    ServiceNameTaken,
    demand_name,
    known_scopes,
    new_service_id,
)
from auth_service.services.table import service_accounts, to_service


async def create_service(
    engine: AsyncEngine,
    secrets: Secrets,
    *,
    name: str,
    scopes: Collection[str],
    key_days: int,
    actor: str,
) -> IssuedKey:
    """Create a service account; its key is told here and never again.

    Parameters:
        key_days: after which the key stops working.
        actor: who does it, for the audit log.

    Raises:
        BadServiceName: the name is none.
        UnknownScope: a scope does not exist, or none was named.
        ServiceNameTaken: another account has the name.
    """
    demand_name(name)
    allowed = known_scopes(scopes)
    async with engine.begin() as connection:
        try:
            inserted = await connection.execute(
                insert(service_accounts)
                .values(id=new_service_id(), name=name, scopes=allowed)
                .returning(service_accounts)
            )
        except IntegrityError:
            raise ServiceNameTaken(f"there is a service account named {name} already") from None
        service = to_service(inserted.one())
        await audit(
            connection,
            Action.SERVICE_CREATED,
            actor=actor,
            subject=service.id,
            name=name,
            scopes=allowed,
        )
        return await issue(connection, secrets, service, key_days=key_days, actor=actor)


async def delete_service(engine: AsyncEngine, service_id: str, *, actor: str) -> None:
    """Delete a service account and its keys; tokens that it holds still live for minutes.

    Raises:
        NoSuchService: there is none.
    """
    async with engine.begin() as connection:
        deleted = await connection.execute(
            delete(service_accounts)
            .where(service_accounts.c.id == service_id)
            .returning(service_accounts.c.name)
        )
        name = deleted.scalar_one_or_none()
        if name is None:
            raise NoSuchService(f"there is no service account {service_id}")
        await audit(connection, Action.SERVICE_DELETED, actor=actor, subject=service_id, name=name)
