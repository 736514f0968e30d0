"""Issue and revoke the API keys of service accounts.

Guarantees: no account ever has more than two live keys, however many ask at once; no key is
stored, only its hash, keyed with a secret that is not in the database; a new key leaves the old
one as it is, so that a service changes over without an outage.
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
    """A further key for the account; the one before stays valid until it is revoked or expires.

    Parameters:
        service: the account's id or name.
        key_days: after which the new key stops working.
        actor: who does it, for the audit log.
        administrator: the user who has to be an administrator for it; None: a command does it.

    Raises:
        NoSuchService: there is no such account.
        TooManyApiKeys: it has two live keys already.
        NoAdministrator: who does it is none any more.
    """
    async with engine.begin() as connection:
        # Two who rotate at once count one after the other.
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
            raise TooManyApiKeys(f"{row.name} has two live keys, {' and '.join(known)}: revoke one")
        return await issue_key(connection, secrets, to_service(row), key_days=key_days, actor=actor)


async def revoke_key(
    engine: AsyncEngine,
    key_id: str,
    *,
    actor: str,
    administrator: UUID | None = None,
    service_id: str | None = None,
) -> None:
    """From now on the key gets no token, and all that its account has are refused.

    A token does not tell with which key it was obtained; a holder of another key gets a new one. A
    key that is revoked already stays so, and nothing is written down again.

    Parameters:
        service_id: whose key it has to be.
        actor: who does it, for the audit log.
        administrator: the user who has to be an administrator for it; None: a command does it.

    Raises:
        NoSuchApiKey: there is no such key.
        NoSuchService: its account was deleted meanwhile.
        NoAdministrator: who does it is none any more.
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
    """A new key for ``service``, whose row is locked or new; the caller commits."""
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
