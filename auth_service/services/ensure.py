"""See to it that a service has its account and a key that is good for a while: unattended.

For whoever sets a system up (docker compose, `make up`), at every start anew.

Guarantees: what is in order is left as it is, down to the key's last use; whatever was lost, the
account, the key, the database or the secret behind the hashes, the service has a good key
afterwards; a scope is added where one is wanting and never taken away; a key that is replaced in
time stays good until it expires, so that a service that still has it goes on.

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

REPLACED_AT_SHARE: Final = 1 / 3
"""Of a key's life: of 90 days the last 30. What is started once a month never runs out of keys."""


async def ensure_service(
    engine: AsyncEngine,
    secrets: Secrets,
    *,
    name: str,
    scopes: Collection[str],
    kept: Credentials | None,
    key_days: int,
    actor: str,
) -> IssuedKey | None:
    """A new key for the account ``name``, which is made if need be; None when ``kept`` will do.

    Parameters:
        scopes: what the account has to be allowed at least.
        kept: what the service has.
        key_days: after which a new key stops working.
        actor: who does it, for the audit log.

    Raises:
        BadServiceName: the name is none.
        UnknownScope: a scope does not exist, or none was named.
        ServiceDisabled: an operator has disabled the account.
        ServiceNameTaken: somebody else made the account at the same moment.
    """
    service = await _named(engine, name)
    if service is None:
        return await create_service(
            engine, secrets, name=name, scopes=scopes, key_days=key_days, actor=actor
        )
    if service.status == "disabled":
        raise ServiceDisabled(
            f"the service account {name} is disabled; enable it first: auth-service services"
            f" enable {name}"
        )
    await _allow(engine, service, validate_scopes(scopes), actor=actor)
    if kept is not None and await _is_good(engine, secrets, service, kept):
        return None
    try:
        return await rotate_key(engine, secrets, service.id, key_days=key_days, actor=actor)
    except TooManyApiKeys:
        # Both were lost, or the older one was replaced in time and has had its time.
        await revoke_key(engine, await _oldest_live(engine, service), actor=actor)
        return await rotate_key(engine, secrets, service.id, key_days=key_days, actor=actor)


def lasts(key: KeyRecord, now: datetime) -> bool:
    """Whether a live key need not be replaced yet."""
    return key.expires_at - now > (key.expires_at - key.created_at) * REPLACED_AT_SHARE


async def _named(engine: AsyncEngine, name: str) -> ServiceAccount | None:
    query = select(service_accounts).where(service_accounts.c.name == name)
    async with engine.connect() as connection:
        row = (await connection.execute(query)).one_or_none()
    return None if row is None else to_service(row)


async def _allow(
    engine: AsyncEngine, service: ServiceAccount, scopes: Collection[str], *, actor: str
) -> None:
    wanting = set(scopes) - set(service.scopes)
    if not wanting:
        return
    allowed = sorted({*service.scopes, *wanting})
    async with engine.begin() as connection:
        await connection.execute(
            update(service_accounts)
            .where(service_accounts.c.id == service.id)
            .values(scopes=allowed)
        )
        await audit(
            connection, Action.SCOPES_ADDED, actor=actor, subject=service.id, scopes=sorted(wanting)
        )


async def _is_good(
    engine: AsyncEngine, secrets: Secrets, service: ServiceAccount, kept: Credentials
) -> bool:
    key = ApiKey.parse(kept.api_key)
    if key is None or kept.id != service.id:
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
