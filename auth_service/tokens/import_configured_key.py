"""Register the key of AUTH_PRIVATE_KEY, so that it is a key like the others.

Guarantees: any number of processes may start at once; one of them registers the key.
"""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.tokens.model import ImportStep, Keys, Periods, import_step
from auth_service.tokens.private_keys import PrivateKeys
from auth_service.tokens.store import activate_key, insert_key, lock_keys


def import_step_of(keys: Keys, private: PrivateKeys, token_lasts: timedelta) -> ImportStep | None:
    """What has to be done with the key of AUTH_PRIVATE_KEY; None: nothing, or there is none."""
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
    """Do it, unless another process was faster; the caller commits."""
    keys = await lock_keys(connection, periods)
    step = import_step_of(keys, private, token_lasts)
    if step is None or private.configured is None:
        return
    key = keys.get(private.configured["kid"])
    if key is None:
        key = await insert_key(connection, private.configured, None, at=keys.now, actor=actor)
    if step is not ImportStep.ADD:
        await activate_key(connection, keys, key, actor=actor, cause="AUTH_PRIVATE_KEY")
