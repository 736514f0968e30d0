"""Whether a service may have an access token, and as of when.

Guarantees: a token is either issued as of before a revocation, and refused with it, or not issued:
the account's row is locked while both are asked for, and a revocation takes the same lock.
"""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.services.authenticate import WrongKey
from auth_service.services.keys import LIVE
from auth_service.services.model import NoSuchService
from auth_service.services.revoke_tokens import lock_service, revoke_service_tokens
from auth_service.services.table import api_keys, service_accounts
from auth_service.users.model import is_far_ahead


async def token_issue_time(
    engine: AsyncEngine, service_id: str, key_id: str
) -> tuple[datetime, datetime | None]:
    """The time as of which an authenticated service may have a token, and the account's cut.

    Returns:
        PostgreSQL's clock under the lock, and the ``tokens_valid_after`` that the token's ``iat``
        must not be before.

    Raises:
        WrongKey: the account was deleted or disabled, or the key revoked, since it was shown.
    """
    account = (
        select(service_accounts.c.tokens_valid_after)
        .where(service_accounts.c.id == service_id, service_accounts.c.status == "active")
        .with_for_update(read=True)
    )
    # A statement of its own: it sees what was committed while the first one waited.
    key = select(func.clock_timestamp()).where(api_keys.c.key_id == key_id, LIVE)
    async with engine.begin() as connection:
        row = (await connection.execute(account)).one_or_none()
        at = await connection.scalar(key)
    if row is None or at is None:
        raise WrongKey
    valid_after: datetime | None = row.tokens_valid_after
    if is_far_ahead(valid_after, at):
        await _bring_back(engine, service_id)
        return await token_issue_time(engine, service_id, key_id)
    return at, valid_after


async def _bring_back(engine: AsyncEngine, service_id: str) -> None:
    """Count from now: the account was cut off before the clock was set back."""
    async with engine.begin() as connection:
        try:
            await lock_service(connection, service_id)
        except NoSuchService:
            raise WrongKey from None
        await revoke_service_tokens(connection, service_id)
