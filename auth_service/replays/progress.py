"""Read the replay whose turn it is, and record its progress.

Guarantees: one statement records what was confirmed and respects an operator's decision in between:
it never resumes a paused or cancelled replay.
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

_RECORD_TROUBLE: Final = (
    update(replays)
    .where(replays.c.id == bindparam("replay_id"))
    .values(trouble=_trouble, updated_at=func.now())
)


def _recording(*, is_done: bool) -> Any:
    """Build the statement that records progress; ``is_done`` if nothing is left to send."""
    values: dict[str, Any] = {
        "done_position": bindparam("new_position"),
        "done_user_id": bindparam("new_user_id"),
        "published": replays.c.published + bindparam("confirmed"),
        "started_at": func.coalesce(replays.c.started_at, func.now()),
    }
    if is_done:
        values["state"] = case((_is_running, State.DONE.value), else_=replays.c.state)
        values["finished_at"] = case((_is_running, func.now()), else_=replays.c.finished_at)
    return _RECORD_TROUBLE.values(**values)


_RECORD_PROGRESS: Final = {is_done: _recording(is_done=is_done) for is_done in (False, True)}


async def oldest_running(connection: AsyncConnection, but: Collection[str] = ()) -> Replay | None:
    """Read the oldest running replay that is not to one of the consumers ``but``."""
    row = (await connection.execute(_OLDEST_RUNNING, {"but": list(but)})).one_or_none()
    return None if row is None else to_replay(row)


async def record_progress(
    connection: AsyncConnection, replay: Replay, progress: Progress, trouble: str | None
) -> None:
    """Record the progress of ``replay``, and why it stopped there (None if it did not)."""
    values = {
        "replay_id": replay.id,
        "new_position": progress.checkpoint.position,
        "new_user_id": progress.checkpoint.user_id,
        "confirmed": progress.published,
        "found_trouble": trouble,
    }
    await connection.execute(_RECORD_PROGRESS[progress.is_done], values)


async def record_trouble(connection: AsyncConnection, replay: Replay, trouble: str) -> None:
    """Record why ``replay`` makes no progress."""
    await connection.execute(_RECORD_TROUBLE, {"replay_id": replay.id, "found_trouble": trouble})
