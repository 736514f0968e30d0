"""Count what a replay would send, without sending anything.

Guarantees: nothing is locked. Counting has a connection and a time limit of its own, because a log
of millions takes longer than a request may use a connection of the pool.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.table import outbox_events, source
from auth_service.replays.model import Plan, Pruned, Selection, require_in_log, require_valid
from auth_service.replays.selection_sql import (
    IS_ERASED,
    LAST,
    deletion_is_selected,
    of_users,
    recorded,
)
from auth_service.settings import DatabaseSettings
from auth_service.users.table import users
from contracts.events import UserDeleted, UserUpdated
from contracts.sync.replay_limits import TYPES
from service_kit.database.engines import GRACE_SECONDS, unpooled
from service_kit.database.sessions import Session

COUNT_SECONDS_MAX: Final = 120
"""Counting ten million events takes about ten seconds; on a busy server some more."""

_END_OF_LOG = select(func.coalesce(func.max(outbox_events.c.position), 0))

_BEGIN = (
    select(outbox_events.c.occurred_at)
    .where(outbox_events.c.position > source.c.pruned_position)
    .order_by(outbox_events.c.position)
    .limit(1)
    .scalar_subquery()
)
PRUNED: Final = select(source.c.pruned_position, _BEGIN)
"""Selects the fields of ``Pruned``."""


async def plan(
    settings: DatabaseSettings, *, consumer: str, selection: Selection, rate: int
) -> Plan:
    """Plan a replay of ``selection`` to ``consumer`` at ``rate`` events a second.

    Raises:
        InvalidReplay: the request contradicts itself or exceeds a limit.
        LogPruned: it begins before the oldest event of the log.
    """
    require_valid(consumer, selection, rate)
    async with _long_running(settings) as connection:
        pruned = (await connection.execute(PRUNED)).one()
        require_in_log(selection, Pruned(*pruned))
        if selection.current_state:
            found = await _users(connection, consumer, selection, rate)
        else:
            found = await _events(connection, consumer, selection, rate)
    return found


async def _events(
    connection: AsyncConnection, consumer: str, selection: Selection, rate: int
) -> Plan:
    end = {LAST.key: await connection.scalar(_END_OF_LOG)}
    position = outbox_events.c.position
    counted = await connection.execute(
        select(
            outbox_events.c.type,
            func.count().filter(~IS_ERASED),
            func.count().filter(IS_ERASED),
            func.min(position),
            func.max(position),
        )
        .where(recorded(selection))
        .group_by(outbox_events.c.type),
        end,
    )
    by_type, erased_events, positions = dict.fromkeys(TYPES, 0), 0, list[int]()
    for event_type, left, erased, first, last in counted:
        by_type[event_type] = left
        erased_events += erased
        positions += first, last
    erased_users = 0
    if erased_events:
        theirs = (
            select(
                outbox_events.c.user_id,
                func.bool_or(deletion_is_selected(selection)).label("is_deletion_selected"),
            )
            .where(recorded(selection), IS_ERASED)
            .group_by(outbox_events.c.user_id)
            .subquery()
        )
        row = await connection.execute(
            select(func.count(), func.count().filter(~theirs.c.is_deletion_selected)).select_from(
                theirs
            ),
            end,
        )
        erased_users, tombstones = row.one()
        by_type[UserDeleted.type] += tombstones
    return Plan(
        consumer=consumer,
        selection=selection,
        rate=rate,
        by_type=by_type,
        erased_users=erased_users,
        first_position=min(positions, default=None),
        last_position=max(positions, default=None),
    )


async def _users(
    connection: AsyncConnection, consumer: str, selection: Selection, rate: int
) -> Plan:
    is_living = users.c.deleted_at.is_(None)
    row = await connection.execute(
        select(func.count().filter(is_living), func.count().filter(~is_living))
        .select_from(users)
        .where(of_users(selection))
    )
    living, dead = row.one()
    by_type = {**dict.fromkeys(TYPES, 0), UserUpdated.type: living, UserDeleted.type: dead}
    return Plan(
        consumer=consumer, selection=selection, rate=rate, by_type=by_type, erased_users=dead
    )


@asynccontextmanager
async def _long_running(settings: DatabaseSettings) -> AsyncIterator[AsyncConnection]:
    """Open a connection in autocommit whose statements may take long."""
    engine = unpooled(
        settings.database_url,
        Session(
            "auth-service replay",
            settings.database_schema,
            statement_ms=COUNT_SECONDS_MAX * 1000,
            lock_ms=settings.lock_timeout_ms,
            idle_in_transaction_ms=0,
            # JIT compilation costs more than it saves on a statement of one second.
            others={"jit": "off"},
        ),
        command_seconds=COUNT_SECONDS_MAX + GRACE_SECONDS,
        isolation_level="AUTOCOMMIT",
    )
    async with engine.connect() as connection:
        yield connection
