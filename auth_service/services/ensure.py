"""Ensure that a service has an account, its scopes and a key that stays valid for a while.

For unattended start-up (docker compose, `make up`), at every start.

Guarantees: a valid account and key are left unchanged, including the key's last use. If the
account, the key, the database or the secret behind the hashes was lost, the service has a valid key
afterwards. A missing scope is added, and none is removed. A key that is replaced in time stays
valid until it expires, so that a service that still uses it keeps working.

Not here: where the service finds the key (``credential_files``).
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.secrets import Secrets
from auth_service.services.administer import create_service
from auth_service.services.keys import LIVE, PURPOSE, revoke_key, rotate_key
from auth_service.services.model import (
    ApiKey,
    Credentials,
    IssuedKey,
    KeyRecord,
    ServiceAccount,
    ServiceDisabled,
    TooManyApiKeys,
    validate_scopes,
)
from auth_service.services.table import api_keys, service_accounts, to_key, to_service

REPLACED_AT_FRACTION: Final = 1 / 3
"""Of a key's life: the last 30 of 90 days. A system started once a month always has a valid key."""


async def ensure_service(
    engine: AsyncEngine,
    secrets: Secrets,
    *,
    name: str,
    scopes: Collection[str],
    stored: Credentials | None,
    key_days: int,
    actor: str,
) -> IssuedKey | None:
    """Create or update the account ``name``; issue a new key unless ``stored`` is valid.

    Parameters:
        scopes: the scopes that the account must have.
        stored: the credentials that the service has.
        key_days: a new key expires after this many days.
        actor: for the audit log.

    Returns:
        The new key; None if ``stored`` stays in use.

    Raises:
        BadServiceName: the name is invalid.
        UnknownScope: a scope does not exist, or none was given.
        ServiceDisabled: an operator has disabled the account.
        ServiceNameTaken: another process created the account at the same moment.
    """
    service = await _find_by_name(engine, name)
    if service is None:
        return await create_service(
            engine, secrets, name=name, scopes=scopes, key_days=key_days, actor=actor
        )
    if service.status == "disabled":
        raise ServiceDisabled(
            f"the service account {name} is disabled; enable it first: `auth-service services"
            f" enable {name}`"
        )
    await _add_scopes(engine, service, validate_scopes(scopes), actor=actor)
    if stored is not None and await _is_valid(engine, secrets, service, stored):
        return None
    try:
        return await rotate_key(engine, secrets, service.id, key_days=key_days, actor=actor)
    except TooManyApiKeys:
        # Both were lost, or the older one was replaced in time and is no longer needed.
        await revoke_key(engine, await _oldest_live(engine, service), actor=actor)
        return await rotate_key(engine, secrets, service.id, key_days=key_days, actor=actor)


def lasts(key: KeyRecord, now: datetime) -> bool:
    """Whether a live key need not be replaced yet."""
    return key.expires_at - now > (key.expires_at - key.created_at) * REPLACED_AT_FRACTION


async def _find_by_name(engine: AsyncEngine, name: str) -> ServiceAccount | None:
    query = select(service_accounts).where(service_accounts.c.name == name)
    async with engine.connect() as connection:
        row = (await connection.execute(query)).one_or_none()
    return None if row is None else to_service(row)


async def _add_scopes(
    engine: AsyncEngine, service: ServiceAccount, scopes: Collection[str], *, actor: str
) -> None:
    missing = set(scopes) - set(service.scopes)
    if not missing:
        return
    allowed = sorted({*service.scopes, *missing})
    async with engine.begin() as connection:
        await connection.execute(
            update(service_accounts)
            .where(service_accounts.c.id == service.id)
            .values(scopes=allowed)
        )
        await audit(
            connection, Action.SCOPES_ADDED, actor=actor, subject=service.id, scopes=sorted(missing)
        )


async def _is_valid(
    engine: AsyncEngine, secrets: Secrets, service: ServiceAccount, stored: Credentials
) -> bool:
    key = ApiKey.parse(stored.api_key)
    if key is None or stored.id != service.id:
        return False
    query = select(api_keys, func.now().label("now")).where(
        api_keys.c.key_id == key.id, api_keys.c.service_id == service.id, LIVE
    )
    async with engine.connect() as connection:
        row = (await connection.execute(query)).one_or_none()
    return (
        row is not None
        and secrets.is_mac(PURPOSE, key.hashed, row.secret_mac)
        and lasts(to_key(row), row.now)
    )


async def _oldest_live(engine: AsyncEngine, service: ServiceAccount) -> str:
    query = (
        select(api_keys.c.key_id)
        .where(api_keys.c.service_id == service.id, LIVE)
        .order_by(api_keys.c.created_at)
        .limit(1)
    )
    async with engine.connect() as connection:
        key_id: str = (await connection.execute(query)).scalar_one()
    return key_id
