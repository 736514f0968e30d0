"""Read replays, one or a page."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.replays.model import NoSuchReplay, Replay
from auth_service.replays.table import replays, to_replay


async def replay_by_id(
    connection: AsyncConnection, replay_id: UUID, *, lock: bool = False
) -> Replay:
    """Read the replay with this id.

    Parameters:
        connection: to read with.
        replay_id: which replay.
        lock: lock its row until the transaction ends.

    Raises:
        NoSuchReplay: no replay has this id.
    """
    query = select(replays).where(replays.c.id == replay_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NoSuchReplay(f"no replay has the id {replay_id}")
    return to_replay(row)


async def replays_before(
    connection: AsyncConnection,
    replay_id: UUID | None,
    limit: int,
    *,
    consumer: str | None = None,
) -> Sequence[Replay]:
    """Read at most ``limit`` replays, newest first.

    Parameters:
        connection: to read with.
        replay_id: only replays that were requested before this one.
        limit: the largest number of replays.
        consumer: only replays to this consumer.
    """
    age = tuple_(replays.c.created_at, replays.c.id)
    query = select(replays).order_by(replays.c.created_at.desc(), replays.c.id.desc()).limit(limit)
    if replay_id is not None:
        since = select(replays.c.created_at).where(replays.c.id == replay_id).scalar_subquery()
        query = query.where(age < tuple_(since, replay_id))
    if consumer is not None:
        query = query.where(replays.c.consumer == consumer)
    return [to_replay(row) for row in await connection.execute(query)]
