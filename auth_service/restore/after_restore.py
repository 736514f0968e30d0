"""After a restore or an asynchronous failover: put the source beyond all that was lost.

A database that was put back knows nothing of the lost time: it would give versions, positions and
heartbeat numbers a second time, and what was revoked then is valid again.

Guarantees: every living user gets a version above the floor and above his own, and an event with
all of his state, so that nothing of the lost time can win over it, not even a parked message;
positions and heartbeat numbers are moved first, so that none is used twice; all sessions end, and
with the events every access token of before is refused everywhere. No relay can become active
meanwhile. Each batch of users is one transaction: killed, the command is run again and goes on
where it was; run once more, it does all of it again, which does no harm.

Not here: what the replicas have and the source has not (``blog-service reconcile``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.queries import audit_entries
from auth_service.audit.record import audit
from auth_service.mail.erase import erase_all_links
from auth_service.outbox.advance_sequences import Advanced, advance_sequences
from auth_service.outbox.table import RELAY_LEASE, source
from auth_service.sessions.end import EndReason, end_sessions_of
from auth_service.users.bump_versions import bump_versions, count_to_bump
from service_kit.database.locks import advisory_lock
from service_kit.process.errors import OperatorError

BATCH_USERS: Final = 1_000
"""A transaction: enough that its commit costs nothing beside it, and a tenth of a second long."""

_BEGUN: Final = "begun"
_DONE: Final = "done"

_LOWEST_ID: Final = UUID(int=0)

Advance = Callable[[int], None]


class RelayActive(OperatorError):
    """A relay publishes from the database that was restored."""

    def __init__(self) -> None:
        super().__init__(
            "a relay is active on this database; stop the relays and the API first, and start them"
            " when this command has ended"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was done.

    ``taken_up`` tells that a run before this one had been cut off; the counts are of this one.
    Positions and heartbeats go on above ``position`` and ``heartbeat``.
    """

    floor: int
    taken_up: bool
    users: int
    sessions_ended: int
    links_erased: int
    position: int
    heartbeat: int


async def supersede_lost_versions(
    engine: AsyncEngine, *, floor: int, actor: str, begin: Callable[[int], Advance]
) -> Restored:
    """Do all of it.

    Parameters:
        engine: with a statement timeout that allows counting all users.
        floor: the highest version that any replica holds; ``model`` has looked at it.
        actor: who does it, for the audit log.
        begin: told how many users there are, returns what is told of each batch.

    Raises:
        RelayActive: a relay publishes meanwhile.
    """
    async with advisory_lock(engine, RELAY_LEASE.lock_key) as connection:
        if connection is None:
            raise RelayActive
        async with connection.begin():
            links = await erase_all_links(connection)
            start = await _unfinished(connection, floor)
            is_taken_up = start is not None
            if start is None:
                start = await _start(connection, floor, actor)
        since = start.position if is_taken_up else None
        async with connection.begin():
            advance = begin(await count_to_bump(connection, floor=floor, since=since))
        users = sessions = 0
        after = _LOWEST_ID
        while True:
            async with connection.begin():
                renewed = await bump_versions(
                    connection, floor=floor, after=after, since=since, limit=BATCH_USERS
                )
                ids = [user.id for user in renewed]
                ended = await end_sessions_of(connection, ids, EndReason.RESTORED)
            if not ids:
                break
            after = ids[-1]
            users, sessions = users + len(ids), sessions + ended
            advance(len(ids))
        done = Restored(
            floor=floor,
            taken_up=is_taken_up,
            users=users,
            sessions_ended=sessions,
            links_erased=links,
            position=start.position,
            heartbeat=start.heartbeat,
        )
        async with connection.begin():
            await _audit(
                connection, start, actor, step=_DONE, floor=floor, users=users, sessions=sessions
            )
    return done


async def _start(connection: AsyncConnection, floor: int, actor: str) -> Advanced:
    """Move the numbers, and write down where a run that is taken up goes on from."""
    moved = await advance_sequences(connection)
    await _audit(
        connection,
        moved,
        actor,
        step=_BEGUN,
        floor=floor,
        position=moved.position,
        heartbeat=moved.heartbeat,
    )
    return moved


async def _unfinished(connection: AsyncConnection, floor: int) -> Advanced | None:
    """The start of a run with the same floor that did not come to its end, the last one of all."""
    identity = await connection.scalar(select(source.c.identity))
    assert identity is not None  # the first migration made it
    for entry in await audit_entries(connection, subject=str(identity), limit=1):
        details = entry.details or {}
        if (details.get("step"), details.get("floor")) == (_BEGUN, floor):
            return Advanced(identity, details["position"], details["heartbeat"])
    return None


async def _audit(connection: AsyncConnection, start: Advanced, actor: str, **details: Any) -> None:
    await audit(connection, Action.SOURCE_RESTORED, actor=actor, subject=start.source, **details)
