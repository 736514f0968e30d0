"""Lock a user's row while content is written in their name.

Guarantees: what was decided by the row still holds at the commit, because no event of this user is
applied before it. So everything the user has written is committed before their tombstone, and the
erasure that follows the tombstone finds it all.

Lock order: ``users``, then ``posts``, then ``comments``.
"""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from blog_service.problems import UNKNOWN_AUTHOR
from blog_service.replica_of_users import USERS
from blog_service.users.table import users
from replica.caller import Caller, ReplicaUser, to_replica_user
from service_kit.http import problems
from service_kit.http.bearer import invalid_token
from service_kit.http.problems import Problem


async def lock_caller(connection: AsyncConnection, caller: Caller) -> Caller:
    """Lock the caller's row if the caller is a user, and return their current state.

    Raises:
        Problem: the user was deleted (401) or disabled (403) since the token was verified.
    """
    return await lock_user(connection, caller) if isinstance(caller, ReplicaUser) else caller


async def lock_user(
    connection: AsyncConnection, user: ReplicaUser, *, exclusive: bool = False
) -> ReplicaUser:
    """Lock the user's row until the transaction ends, and return the user's current state.

    Parameters:
        connection: in a transaction.
        user: the user's state when the token was verified.
        exclusive: exclude other exclusive locks of this user, so that their rows can be counted.

    Raises:
        Problem: the user was deleted (401) or disabled (403) meanwhile.
    """
    locked = await _lock(connection, user.id, exclusive=exclusive)
    if locked is None:  # reconcile removed the provisional row as an orphan; the token is valid
        await USERS.provide(connection, user.id)
        locked = await _lock(connection, user.id, exclusive=exclusive)
    if locked is None or locked.status == "deleted":
        raise invalid_token()
    return _not_disabled(locked)


async def lock_author(connection: AsyncConnection, author_id: UUID) -> ReplicaUser:
    """Lock the row of the author that a service names, until the transaction ends.

    Raises:
        Problem: the user is unknown or deleted (422), or disabled (403).
    """
    locked = await _lock(connection, author_id)
    if locked is None or locked.status == "deleted":
        raise Problem(UNKNOWN_AUTHOR)
    return _not_disabled(locked)


def _not_disabled(user: ReplicaUser) -> ReplicaUser:
    if user.status == "disabled":
        raise Problem(problems.ACCOUNT_DISABLED)
    return user


async def _lock(
    connection: AsyncConnection, user_id: UUID, *, exclusive: bool = False
) -> ReplicaUser | None:
    # FOR SHARE or FOR NO KEY UPDATE. Both exclude the replica's writer; the second also excludes
    # other transactions that take either of them.
    query = select(users).where(users.c.id == user_id)
    row = await connection.execute(query.with_for_update(read=not exclusive, key_share=exclusive))
    found = row.one_or_none()
    return to_replica_user(found) if found is not None else None
