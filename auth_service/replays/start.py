"""Start a replay: insert what was planned into the table of replays.

Guarantees: the transaction locks the row of ``source`` (FOR SHARE), and pruning locks the same row
before it deletes anything. So either pruning sees the replay and keeps what it needs, or the replay
sees that the log was pruned and is refused.
"""

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit, on_behalf
from auth_service.outbox.table import source
from auth_service.replays.model import (
    UNFINISHED_MAX,
    Plan,
    Pruned,
    Replay,
    TooManyReplays,
    require_in_log,
)
from auth_service.replays.plan import PRUNED
from auth_service.replays.table import LOG, REPLAY_LEASE, STATE, replays, to_replay, unfinished

_LOCK = select(source.c.singleton).with_for_update(read=True)


async def start(engine: AsyncEngine, plan: Plan, *, actor: str, via: str | None = None) -> Replay:
    """Start the replay that ``plan`` describes; the relay process sends it.

    Parameters:
        engine: the auth database.
        plan: the count made just before.
        actor: who requests it, for the row and the audit log.
        via: the service that requests it on the actor's behalf, for the audit log.

    Raises:
        LogPruned: the log was pruned since it was counted.
        TooManyReplays: ``UNFINISHED_MAX`` replays are unfinished.
    """
    selection = plan.selection
    async with engine.begin() as connection:
        await connection.execute(_LOCK)
        pruned = (await connection.execute(PRUNED)).one()
        require_in_log(selection, Pruned(*pruned))
        waiting = await connection.scalar(select(func.count()).where(unfinished))
        if (waiting or 0) >= UNFINISHED_MAX:
            raise TooManyReplays(
                f"{UNFINISHED_MAX} replays are unfinished; cancel one (auth-service replay cancel)"
            )
        inserted = await connection.execute(
            insert(replays)
            .values(
                consumer=plan.consumer,
                of=STATE if selection.current_state else LOG,
                since=selection.since,
                until=selection.until,
                from_position=selection.from_position,
                user_ids=list(selection.users) or None,
                types=list(selection.types) or None,
                rate=plan.rate,
                requested_by=actor,
                last_position=plan.last_position,
                # Events before the first selected one need not be kept or read.
                done_position=(plan.first_position or 1) - 1,
                expected=plan.events,
            )
            .returning(*replays.c)
        )
        replay = to_replay(inserted.one())
        await audit(
            connection,
            Action.REPLAY_STARTED,
            actor=actor,
            subject=replay.id,
            consumer=plan.consumer,
            current_state=selection.current_state,
            events=plan.events,
            **on_behalf(via),
        )
        await connection.execute(select(REPLAY_LEASE.wake()))
    return replay
