"""Authenticate a service account by its API key.

Guarantees: a malformed key costs no query. An unknown account, an unknown key and a wrong secret
take the same work and get the same response. Secrets are compared in constant time.
"""

from typing import Final

import structlog
from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.secrets import Secrets
from auth_service.services.keys import LIVE, PURPOSE
from auth_service.services.model import ApiKey, ServiceAccount
from auth_service.services.table import api_keys, service_accounts, to_service

log = structlog.get_logger()

STORED_EVERY_SECONDS: Final = 60
"""Resolution of ``last_used_at``: storing every use would make all requests of a service wait for
one row."""

_NO_MAC: Final = bytes(32)


class WrongKey(Exception):
    """Account and key do not belong together, or one of them is not active."""


async def authenticate(
    engine: AsyncEngine, secrets: Secrets, *, service_id: str, api_key: str
) -> ServiceAccount:
    """Return the account with this id and live key; store that the key was used.

    Raises:
        WrongKey: there is no such account and key.
    """
    key = ApiKey.parse(api_key)
    if key is None:
        raise WrongKey
    stored_before = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, STORED_EVERY_SECONDS)
    is_outdated = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < stored_before)
    query = (
        select(
            service_accounts,
            api_keys.c.secret_mac,
            LIVE.label("is_live"),
            is_outdated.label("is_outdated"),
        )
        .join(service_accounts, service_accounts.c.id == api_keys.c.service_id)
        .where(api_keys.c.key_id == key.id)
    )
    async with engine.connect() as connection:
        row = (await connection.execute(query)).one_or_none()
    is_right = secrets.is_mac(PURPOSE, key.hashed, row.secret_mac if row else _NO_MAC)
    is_active = row is not None and row.is_live and row.status == "active" and row.id == service_id
    if row is None or not is_right or not is_active:
        log.info("api_key.refused", key_id=key.id)
        raise WrongKey
    if row.is_outdated:
        async with engine.begin() as connection:
            await connection.execute(
                update(api_keys)
                .where(api_keys.c.key_id == key.id, is_outdated)
                # Hashed again, so that no hash depends on the previous secret for long.
                .values(last_used_at=func.now(), secret_mac=secrets.mac(PURPOSE, key.hashed))
            )
    return to_service(row)
