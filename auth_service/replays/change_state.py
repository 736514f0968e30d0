"""Pause, resume or cancel a replay; the replayer notices within one batch."""

from typing import Final
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit, on_behalf
from auth_service.replays.model import Replay, State, TargetState, is_change
from auth_service.replays.read import replay_by_id
from auth_service.replays.table import REPLAY_LEASE, replays, to_replay

_ACTIONS: Final[dict[TargetState, Action]] = {
    State.PAUSED: Action.REPLAY_PAUSED,
    State.RUNNING: Action.REPLAY_RESUMED,
    State.CANCELLED: Action.REPLAY_CANCELLED,
}


async def change_state(
    engine: AsyncEngine, replay_id: UUID, target: TargetState, *, actor: str, via: str | None = None
) -> Replay:
    """Give a replay the state ``target``; idempotent.

    Parameters:
        engine: the auth database.
        replay_id: which replay.
        target: the new state.
        actor: who requests it, for the audit log.
        via: the service that requests it on the actor's behalf.

    Raises:
        NoSuchReplay: no replay has this id.
        ReplayFinished: it is done or cancelled already.
    """
    async with engine.begin() as connection:
        replay = await replay_by_id(connection, replay_id, lock=True)
        if not is_change(replay.state, target):
            return replay
        finished_at = func.now() if target.is_final else None
        updated = await connection.execute(
            update(replays)
            .where(replays.c.id == replay_id)
            .values(state=target, trouble=None, updated_at=func.now(), finished_at=finished_at)
            .returning(*replays.c)
        )
        await audit(connection, _ACTIONS[target], actor=actor, subject=replay_id, **on_behalf(via))
        await connection.execute(select(REPLAY_LEASE.wake()))
        return to_replay(updated.one())
