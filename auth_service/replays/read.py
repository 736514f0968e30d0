"""Look replays up."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.replays.model import NoSuchReplay, Replay
from auth_service.replays.table import replays, to_replay


async def replay_by_id(
    connection: AsyncConnection, replay_id: UUID, *, lock: bool = False
) -> Replay:
    """The replay with this id; raises ``NoSuchReplay``.

    Parameters:
        connection: to read with.
        replay_id: which one.
        lock: keep everybody else from changing it until the transaction ends.
    """
    query = select(replays).where(replays.c.id == replay_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NoSuchReplay(f"there is no replay {replay_id}")
    return to_replay(row)


async def replays_before(
    connection: AsyncConnection,
    replay_id: UUID | None,
    limit: int,
    *,
    consumer: str | None = None,
) -> Sequence[Replay]:
    """At most ``limit`` replays, the newest first.

    Parameters:
        connection: to read with.
        replay_id: only those that were asked for before this one.
        limit: how many at most.
        consumer: only those to this one.
    """
    age = tuple_(replays.c.created_at, replays.c.id)
    query = select(replays).order_by(replays.c.created_at.desc(), replays.c.id.desc()).limit(limit)
    if replay_id is not None:
        since = select(replays.c.created_at).where(replays.c.id == replay_id).scalar_subquery()
        query = query.where(age < tuple_(since, replay_id))
    if consumer is not None:
        query = query.where(replays.c.consumer == consumer)
    return [to_replay(row) for row in await connection.execute(query)]
