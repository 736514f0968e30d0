"""Hold the row of a user while something is written in his name.

Guarantees: what is decided by the row still holds at the commit, for no event of his is applied
before it; so whatever he wrote is there when his tombstone is, and the erasing that the tombstone
calls for misses nothing.

Rows of ``users`` are locked first, then of ``posts``, then of ``comments``: whoever locks several
keeps to that order.
"""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from blog_service.users.table import users
from replica import users as replica
from replica.caller import Caller, ReplicaUser, to_replica_user
from service_kit.http import problems
from service_kit.http.bearer import invalid_token
from service_kit.http.problems import Problem


async def lock_caller(connection: AsyncConnection, caller: Caller) -> Caller:
    """Whoever calls, as he is now, and a user stays so until the transaction ends.

    Raises:
        Problem: he was deleted (401) or disabled (403) since his token was looked at.
    """
    return await lock_user(connection, caller) if isinstance(caller, ReplicaUser) else caller


async def lock_user(
    connection: AsyncConnection, user: ReplicaUser, *, alone: bool = False
) -> ReplicaUser:
    """The user as he is now; he stays so until the transaction ends.

    Parameters:
        connection: in a transaction.
        user: as he was when his token was looked at.
        alone: have his other requests that do so wait, so that what he wrote can be counted.

    Raises:
        Problem: he was deleted (401) or disabled (403) meanwhile.
    """
    held = await _held(connection, user.id, alone=alone)
    if held is None:  # reconcile took his provisional row for an orphan; his token is good
        await replica.provide(connection, user.id)
        held = await _held(connection, user.id, alone=alone)
    if held is None or held.status == "deleted":
        raise invalid_token()
    return _not_disabled(held)


async def lock_author(connection: AsyncConnection, author_id: UUID) -> ReplicaUser:
    """The user for whom a service writes; he stays as he is until the transaction ends.

    Raises:
        Problem: there is none, or he is deleted (422); he is disabled (403).
    """
    held = await _held(connection, author_id)
    if held is None or held.status == "deleted":
        raise Problem(problems.UNKNOWN_AUTHOR)
    return _not_disabled(held)


def _not_disabled(user: ReplicaUser) -> ReplicaUser:
    if user.status == "disabled":
        raise Problem(problems.ACCOUNT_DISABLED)
    return user


async def _held(
    connection: AsyncConnection, user_id: UUID, *, alone: bool = False
) -> ReplicaUser | None:
    # FOR SHARE, or FOR NO KEY UPDATE: both keep the replica's writer away, the second one also
    # whoever takes either of them.
    query = select(users).where(users.c.id == user_id)
    row = await connection.execute(query.with_for_update(read=not alone, key_share=alone))
    found = row.one_or_none()
    return to_replica_user(found) if found is not None else None
