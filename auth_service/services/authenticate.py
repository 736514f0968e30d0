"""Which service account shows this API key.

Guarantees: what has not the form of a key costs no query; an unknown account, an unknown key and a
wrong secret take the same work, and the answer does not tell them apart; secrets are compared in
constant time.
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

NOTED_EVERY_SECONDS: Final = 60
"""How exact ``last_used_at`` is: noting each use would have all requests of a service wait for one
row."""

_NO_MAC: Final = bytes(32)


class WrongKey(Exception):
    """Account and key do not belong together, or one of them does not count (any more)."""


async def authenticate(
    engine: AsyncEngine, secrets: Secrets, *, service_id: str, api_key: str
) -> ServiceAccount:
    """The account with this id whose live key this is; notes that the key was used.

    Raises:
        WrongKey: there is none.
    """
    key = ApiKey.parse(api_key)
    if key is None:
        raise WrongKey
    noted = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, NOTED_EVERY_SECONDS)
    unnoted = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < noted)
    query = (
        select(
            service_accounts,
            api_keys.c.secret_mac,
            LIVE.label("is_live"),
            unnoted.label("is_unnoted"),
        )
        .join(service_accounts, service_accounts.c.id == api_keys.c.service_id)
        .where(api_keys.c.key_id == key.id)
    )
    async with engine.connect() as connection:
        row = (await connection.execute(query)).one_or_none()
    is_right = secrets.is_mac(PURPOSE, key.hashed, row.secret_mac if row else _NO_MAC)
    is_good = row is not None and row.is_live and row.status == "active" and row.id == service_id
    if row is None or not is_right or not is_good:
        log.info("api_key.refused", key_id=key.id)
        raise WrongKey
    if row.is_unnoted:
        async with engine.begin() as connection:
            await connection.execute(
                update(api_keys)
                .where(api_keys.c.key_id == key.id, unnoted)
                # Hashed again, so that the hash does not outlive the secret before the present one.
                .values(last_used_at=func.now(), secret_mac=secrets.mac(PURPOSE, key.hashed))
            )
    return to_service(row)
