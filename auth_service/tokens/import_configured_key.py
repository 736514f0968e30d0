"""Register the key of AUTH_PRIVATE_KEY, so that it can be rotated and revoked like the others.

Guarantees: any number of processes may start at once; one of them registers the key.
"""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.tokens.model import ImportStep, Keys, Periods, import_step
from auth_service.tokens.private_keys import PrivateKeys
from auth_service.tokens.store import activate_key, insert_key, lock_keys


def needed_import(keys: Keys, private: PrivateKeys, token_lasts: timedelta) -> ImportStep | None:
    """Decide how to import the key of AUTH_PRIVATE_KEY; None: not at all, or it is unset."""
    if private.configured is None:
        return None
    return import_step(
        keys,
        private.configured["kid"],
        active_is_lost=keys.active is not None and private.is_lost(keys.active),
        token_lasts=token_lasts,
    )


async def import_configured_key(
    connection: AsyncConnection,
    periods: Periods,
    private: PrivateKeys,
    *,
    token_lasts: timedelta,
    actor: str,
) -> None:
    """Import the key, unless another process has done it; the caller commits."""
    keys = await lock_keys(connection, periods)
    step = needed_import(keys, private, token_lasts)
    if step is None or private.configured is None:
        return
    key = keys.get(private.configured["kid"])
    if key is None:
        key = await insert_key(connection, private.configured, None, at=keys.now, actor=actor)
    if step is not ImportStep.ADD:
        await activate_key(connection, keys, key, actor=actor, cause="AUTH_PRIVATE_KEY")
