"""How far replays have come: what the replayer reads and writes of them.

Guarantees: one statement notes what was confirmed and respects what an operator decided meanwhile:
it never takes a replay out of pause, nor brings a cancelled one back.
"""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import ARRAY, Text, all_, bindparam, case, func, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.replays.batch import Progress
from auth_service.replays.model import Replay, State
from auth_service.replays.table import replays, to_replay

_is_running = replays.c.state == State.RUNNING.value

_OLDEST_RUNNING: Final = (
    select(replays)
    .where(_is_running, replays.c.consumer != all_(bindparam("but", type_=ARRAY(Text))))
    .order_by(replays.c.created_at, replays.c.id)
    .limit(1)
)

_trouble = case((_is_running, bindparam("found_trouble", type_=Text)), else_=null())

_NOTE: Final = (
    update(replays)
    .where(replays.c.id == bindparam("replay_id"))
    .values(trouble=_trouble, updated_at=func.now())
)


def _move(*, is_done: bool) -> Any:
    """The statement that notes progress; ``is_done`` when nothing is left."""
    values: dict[str, Any] = {
        "done_position": bindparam("new_position"),
        "done_user_id": bindparam("new_user_id"),
        "published": replays.c.published + bindparam("confirmed"),
        "started_at": func.coalesce(replays.c.started_at, func.now()),
    }
    if is_done:
        values["state"] = case((_is_running, State.DONE.value), else_=replays.c.state)
        values["finished_at"] = case((_is_running, func.now()), else_=replays.c.finished_at)
    return _NOTE.values(**values)


_MOVE: Final = {is_done: _move(is_done=is_done) for is_done in (False, True)}


async def oldest_running(connection: AsyncConnection, but: Collection[str] = ()) -> Replay | None:
    """The replay whose turn it is; those to the consumers ``but`` have to wait."""
    row = (await connection.execute(_OLDEST_RUNNING, {"but": list(but)})).one_or_none()
    return None if row is None else to_replay(row)


async def record_progress(
    connection: AsyncConnection, replay: Replay, moved: Progress, trouble: str | None
) -> None:
    """Note how far ``replay`` has come, and why it got no further."""
    values = {
        "replay_id": replay.id,
        "new_position": moved.done.position,
        "new_user_id": moved.done.user_id,
        "confirmed": moved.published,
        "found_trouble": trouble,
    }
    await connection.execute(_MOVE[moved.is_done], values)


async def record_trouble(connection: AsyncConnection, replay: Replay, trouble: str) -> None:
    """Note why ``replay`` does not get on."""
    await connection.execute(_NOTE, {"replay_id": replay.id, "found_trouble": trouble})
