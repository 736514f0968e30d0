"""Bring the gauges of inbox, reconcile and erasure up to date for ``/metrics``."""

from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.erasure import metrics as erasure
from replica.inbox import metrics as inbox
from replica.reconcile import metrics as reconcile
from service_kit.process.readings import read_again


async def refresh(engine: AsyncEngine) -> None:
    """Set those that come from the database, as the API and the consumer both show them.

    Without the database they have no values.
    """
    compared = (reconcile.differing, reconcile.last_reconciled, reconcile.degraded)
    with read_again(inbox.parked, inbox.heartbeat_age, erasure.due, *compared):
        async with engine.connect() as connection:
            await inbox.refresh(connection)
            await reconcile.refresh(connection)
            await erasure.refresh(connection)
