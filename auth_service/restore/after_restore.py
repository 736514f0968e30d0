"""After a restore or an asynchronous failover: supersede every change of the lost time.

A restored database knows nothing of the time since its backup. It would issue versions, positions
and heartbeat numbers a second time, and what was revoked since is valid again.

Guarantees: every user who is not deleted gets a version above the floor and above their own, and an
event with their full state. So no change of the lost time can win, not even a parked message.
Positions and heartbeat numbers move first, so none is issued twice. All sessions end, and the
events make every service refuse earlier access tokens. No relay can become active meanwhile. Each
batch of users is one transaction: after an interruption, the next run resumes. Another complete run
is harmless.

Not here: what the replicas have and the source lacks (``blog-service reconcile``).
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
"""Users per transaction, a tenth of a second of work: so the commits cost little in comparison."""

_BEGUN: Final = "begun"
_DONE: Final = "done"

_LOWEST_ID: Final = UUID(int=0)

Advance = Callable[[int], None]


class RelayActive(OperatorError):
    """A relay publishes from the restored database."""

    def __init__(self) -> None:
        super().__init__(
            "a relay is active on this database: stop the relays and the API, and start them when"
            " this command has ended"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The result of a run.

    ``taken_up`` is true if this run resumed an interrupted one; the counts are of this run alone.
    Later positions and heartbeat numbers are above ``position`` and ``heartbeat``.
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
    """Move versions, positions and heartbeat numbers past the floor, and end all sessions.

    Parameters:
        engine: the auth database, with a statement timeout that allows counting all users.
        floor: the highest version of any replica, checked by ``model``.
        actor: the operator, for the audit log.
        begin: called with the number of users; returns a function to call with each batch's size.

    Raises:
        RelayActive: a relay is active on this database.
    """
    async with advisory_lock(engine, RELAY_LEASE.lock_key) as connection:
        if connection is None:
            raise RelayActive
        async with connection.begin():
            links = await erase_all_links(connection)
            start = await _unfinished(connection, floor)
            is_resumed = start is not None
            if start is None:
                start = await _start(connection, floor, actor)
        since = start.position if is_resumed else None
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
            taken_up=is_resumed,
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
    """Move the numbers, and record where an interrupted run resumes."""
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
    """Read where the last run started, if it had the same floor and did not finish."""
    identity = await connection.scalar(select(source.c.identity))
    assert identity is not None  # the first migration made it
    for entry in await audit_entries(connection, subject=str(identity), limit=1):
        details = entry.details or {}
        if (details.get("step"), details.get("floor")) == (_BEGUN, floor):
            return Advanced(identity, details["position"], details["heartbeat"])
    return None


async def _audit(connection: AsyncConnection, start: Advanced, actor: str, **details: Any) -> None:
    await audit(connection, Action.SOURCE_RESTORED, actor=actor, subject=start.source, **details)
