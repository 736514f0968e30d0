"""Advisory locks of single users, for what must exclude each other.

Applying a tombstone and parking a message take the user's lock, so that neither misses the other.
All locks end with the caller's transaction.
"""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection


async def lock(connection: AsyncConnection, user_ids: Iterable[UUID]) -> None:
    """Wait for the locks of these users, in an order in which two callers cannot deadlock."""
    keys = sorted(_lock_key(user_id) for user_id in user_ids)
    locks = func.unnest(bindparam("keys", keys, ARRAY(BigInteger))).column_valued("key")
    await connection.execute(select(func.pg_advisory_xact_lock(locks)))


async def try_lock(connection: AsyncConnection, user_ids: Iterable[UUID]) -> set[UUID]:
    """Take those of these users' locks that are free, without waiting; return whose they are."""
    users_of = {_lock_key(user_id): user_id for user_id in user_ids}
    keys = func.unnest(bindparam("keys", sorted(users_of), ARRAY(BigInteger))).column_valued("key")
    taken = await connection.execute(select(keys, func.pg_try_advisory_xact_lock(keys)))
    return {users_of[key] for key, is_taken in taken if is_taken}


def _lock_key(user_id: UUID) -> int:
    key = user_id.int >> 64
    return key - 2**64 if key >= 2**63 else key
