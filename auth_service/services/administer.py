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
    """Create a service account; return its first key, which is never shown again.

    Parameters:
        key_days: the key expires after this many days.
        actor: for the audit log.
        administrator: the user who must be an administrator; None for a command.

    Raises:
        BadServiceName: the name is invalid.
        UnknownScope: a scope does not exist, or none was given.
        ServiceNameTaken: another account has the name.
        NoAdministrator: ``administrator`` no longer is one.
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
            raise ServiceNameTaken(f"a service account named {name} already exists")
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
    """Delete a service account and its keys; other services refuse its tokens with the event.

    Parameters:
        actor: for the audit log.
        administrator: the user who must be an administrator; None for a command.

    Raises:
        NoSuchService: there is no such account.
        NoAdministrator: ``administrator`` no longer is one.
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
    """Set the account's status, and record ``service.changed`` if that is a change.

    Parameters:
        service: the account's id or name.
        actor: for the audit log.
        administrator: the user who must be an administrator; None for a command.

    Raises:
        NoSuchService: there is no such account.
        NoAdministrator: ``administrator`` no longer is one.
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
