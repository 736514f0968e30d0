"""Create, disable, enable and delete service accounts.

Guarantees: a disabled account gets no token, and its tokens are refused, here at once and elsewhere
with the event; enabling restores none of them. A change that changes nothing records nothing.
"""

from collections.abc import Collection
from dataclasses import replace
from uuid import UUID

from sqlalchemy import delete, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.secrets import Secrets
from auth_service.services.keys import issue_key
from auth_service.services.model import (
    IssuedKey,
    NoSuchService,
    ServiceAccount,
    ServiceNameTaken,
    Status,
    new_service_id,
    require_valid_name,
    validate_scopes,
)
from auth_service.services.revoke_tokens import lock_service, revoke_service_tokens
from auth_service.services.table import service_accounts, to_service
from auth_service.users.administrators import require_administrator


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
    require_valid_name(name)
    allowed = validate_scopes(scopes)
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
        await require_administrator(connection, administrator)
        await audit(
            connection,
            Action.SERVICE_CREATED,
            actor=actor,
            subject=service.id,
            name=name,
            scopes=allowed,
        )
        return await issue_key(connection, secrets, service, key_days=key_days, actor=actor)


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
        service = await lock_service(connection, service_id)
        await require_administrator(connection, administrator)
        await revoke_service_tokens(connection, service_id, status="deleted")
        await connection.execute(
            delete(service_accounts).where(service_accounts.c.id == service_id)
        )
        await audit(
            connection, Action.SERVICE_DELETED, actor=actor, subject=service_id, name=service.name
        )


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
        account = await lock_service(connection, service_id)
        await require_administrator(connection, administrator)
        if account.status == status:
            return account
        await revoke_service_tokens(connection, service_id, status=status)
        action = Action.SERVICE_DISABLED if status == "disabled" else Action.SERVICE_ENABLED
        await audit(connection, action, actor=actor, subject=service_id, name=account.name)
    return replace(account, status=status)
