"""Execute one run: compare, repair, and store the result.

Guarantees: a run that was begun ends with a verdict or an explanation in the table, also if it is
interrupted, unless its process dies or the replica's own database goes away; then a consumer ends
it (``run_locks``).
"""

import asyncio
from contextlib import suppress
from typing import Final
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from replica.inbox.faults import describe
from replica.inbox.heartbeats import clear_suspicion
from replica.reconcile import runs
from replica.reconcile.compare import compare
from replica.reconcile.model import CouldNotCompare, EveryFinding, answers, recomputes
from replica.reconcile.progress import RunProgress, persisted
from replica.reconcile.run_locks import hold
from replica.reconcile.runs import Run
from replica.settings import ReconcileSettings
from replica.table import Replica
from service_kit.database.away import DATABASE_AWAY

INTERRUPTED: Final = "it was interrupted; what it had repaired stays repaired"

FAREWELL_SECONDS_MAX: Final = 2.0
"""For the note that a run was interrupted; a consumer ends a run without one (``run_locks``)."""


async def run(
    replica: Replica,
    settings: ReconcileSettings,
    engine: AsyncEngine,
    begun: Run,
    *,
    accepts: UUID | None = None,
    is_quiet: bool = True,
    every: EveryFinding | None = None,
) -> Run:
    """Make a run that was begun (``runs.start``), and return what came of it.

    A verdict about all users clears earlier suspicions (``inbox.heartbeats``) if it is in step, or
    if all that are newer at the source were repaired: finding drift alone repairs nothing.

    Parameters:
        accepts: a source to follow from now on, in place of the one that was followed.
        is_quiet: nobody watches, so that progress is not told.
        every: is told of every user of some kinds.

    Raises:
        SQLAlchemyError, OSError: this replica's own database is away.
    """
    async with hold(engine, begun.id):
        progress = RunProgress(is_quiet=is_quiet)
        return await _run(replica, settings, engine, begun, accepts, progress, every)


async def _run(
    replica: Replica,
    settings: ReconcileSettings,
    engine: AsyncEngine,
    begun: Run,
    accepts: UUID | None,
    progress: RunProgress,
    every: EveryFinding | None,
) -> Run:
    assert begun.started_at is not None  # it was begun
    try:
        async with engine.connect() as connection:
            follows = await runs.source_followed(connection)
        async with persisted(engine, begun.id, progress):
            comparison = await compare(
                replica,
                settings,
                follows=follows,
                accepts=accepts,
                repairs=begun.repairs,
                deletions_max=begun.deletions_max,
                recompute=recomputes(begun.reason),
                users=begun.users,
                progress=progress,
                every=every,
            )
    except asyncio.CancelledError:
        with suppress(*DATABASE_AWAY, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS_MAX), engine.begin() as connection:
                await runs.give_up(connection, begun.id, INTERRUPTED)
        raise
    except CouldNotCompare as error:
        why = str(error)
    except DBAPIError as error:
        did = "broke off" if error.connection_invalidated else "refused"
        why = f"the replica's database {did}: {describe(error)}"
    else:
        async with engine.begin() as connection:
            is_whole = begun.users is None
            if is_whole and answers(begun.reason, begun.repairs, comparison.verdict):
                await clear_suspicion(connection, before=begun.started_at)
            return await runs.finish(connection, begun.id, comparison)
    async with engine.begin() as connection:
        return await runs.give_up(connection, begun.id, why)
