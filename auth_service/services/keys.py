"""Issue and revoke the API keys of service accounts.

Guarantees: no account ever has more than two live keys, even after concurrent requests. No key is
stored, only its hash, keyed with a secret that is not in the database. A new key leaves the old one
valid, so that a service changes keys without an outage.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.secrets import Secrets
from auth_service.services.model import (
    LIVE_KEYS_MAX,
    ApiKey,
    IssuedKey,
    NoSuchApiKey,
    NoSuchService,
    ServiceAccount,
    TooManyApiKeys,
)
from auth_service.services.revoke_tokens import lock_service, revoke_service_tokens
from auth_service.services.table import api_keys, service_accounts, to_service
from auth_service.users.administrators import require_administrator

PURPOSE: Final = "api-key"
"""Of the key that hashes API keys (``Secrets``)."""

LIVE: Final[ColumnElement[bool]] = and_(
    api_keys.c.revoked_at.is_(None), api_keys.c.expires_at > func.now()
)


async def rotate_key(
    engine: AsyncEngine,
    secrets: Secrets,
    service: str,
    *,
    key_days: int,
    actor: str,
    administrator: UUID | None = None,
) -> IssuedKey:
    """Issue another key for the account; the former one stays valid until revoked or expired.

    Parameters:
        service: the account's id or name.
        key_days: the new key expires after this many days.
        actor: for the audit log.
        administrator: the user who must be an administrator; None for a command.

    Raises:
        NoSuchService: there is no such account.
        TooManyApiKeys: the account already has two live keys.
        NoAdministrator: ``administrator`` no longer is one.
    """
    async with engine.begin() as connection:
        # Concurrent rotations count the keys one after the other.
        found = await connection.execute(
            select(service_accounts)
            .where(or_(service_accounts.c.id == service, service_accounts.c.name == service))
            .with_for_update()
        )
        row = found.one_or_none()
        if row is None:
            raise NoSuchService(f"there is no service account {service}")
        await require_administrator(connection, administrator)
        live = await connection.scalars(
            select(api_keys.c.key_id)
            .where(api_keys.c.service_id == row.id, LIVE)
            .order_by(api_keys.c.created_at)
        )
        if len(known := live.all()) >= LIVE_KEYS_MAX:
            raise TooManyApiKeys(f"{row.name} has two live keys, {' and '.join(known)}; revoke one")
        return await issue_key(connection, secrets, to_service(row), key_days=key_days, actor=actor)


async def revoke_key(
    engine: AsyncEngine,
    key_id: str,
    *,
    actor: str,
    administrator: UUID | None = None,
    service_id: str | None = None,
) -> None:
    """Revoke a key: it gets no token any more, and all tokens of its account are refused.

    A token does not say with which key it was obtained; a service with another key gets a new one.
    Revoking a revoked key changes and records nothing.

    Parameters:
        service_id: the account whose key it must be.
        actor: for the audit log.
        administrator: the user who must be an administrator; None for a command.

    Raises:
        NoSuchApiKey: there is no such key.
        NoSuchService: its account was deleted in the meantime.
        NoAdministrator: ``administrator`` no longer is one.
    """
    key = and_(
        api_keys.c.key_id == key_id,
        *([] if service_id is None else [api_keys.c.service_id == service_id]),
    )
    async with engine.begin() as connection:
        owner = await connection.scalar(select(api_keys.c.service_id).where(key))
        if owner is None:
            raise NoSuchApiKey(f"there is no API key {key_id}")
        await lock_service(connection, owner)
        await require_administrator(connection, administrator)
        revoked = await connection.execute(
            update(api_keys)
            .where(key, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=func.now())
        )
        if revoked.rowcount:
            await revoke_service_tokens(connection, owner)
            await audit(
                connection, Action.API_KEY_REVOKED, actor=actor, subject=key_id, service=owner
            )


async def issue_key(
    connection: AsyncConnection,
    secrets: Secrets,
    service: ServiceAccount,
    *,
    key_days: int,
    actor: str,
) -> IssuedKey:
    """Issue a key for ``service``, whose row is locked or new; the caller commits."""
    key = ApiKey.new()
    expires_at = await connection.scalar(
        insert(api_keys)
        .values(
            key_id=key.id,
            service_id=service.id,
            secret_mac=secrets.mac(PURPOSE, key.hashed),
            expires_at=func.now() + func.make_interval(0, 0, 0, key_days),
        )
        .returning(api_keys.c.expires_at)
    )
    assert expires_at is not None  # the row was inserted
    await audit(connection, Action.API_KEY_CREATED, actor=actor, subject=key.id, service=service.id)
    return IssuedKey(
        id=service.id,
        name=service.name,
        scopes=service.scopes,
        key_id=key.id,
        api_key=key.text,
        expires_at=expires_at,
    )
