"""Decide whether a service may have an access token, and the time of issue.

Guarantees: a token is either issued with a time before a revocation, and refused with it, or not
issued. The account's row is locked while both are read, and a revocation takes the same lock.
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
    """Decide when the token of an authenticated service counts as issued.

    Returns:
        PostgreSQL's clock under the lock, and the account's ``tokens_valid_after``, which the
        token's ``iat`` must not precede.

    Raises:
        WrongKey: the account was deleted or disabled, or the key revoked, since authentication.
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
        await _reset_future_validity(engine, service_id)
        return await token_issue_time(engine, service_id, key_id)
    return at, valid_after


async def _reset_future_validity(engine: AsyncEngine, service_id: str) -> None:
    """Make tokens valid from now: the revocation was made before the clock was set back."""
    async with engine.begin() as connection:
        try:
            await lock_service(connection, service_id)
        except NoSuchService:
            raise WrongKey from None
        await revoke_service_tokens(connection, service_id)
