"""Bring the gauges of the replica, and of its service, up to date for ``/metrics``."""

from sqlalchemy.ext.asyncio import AsyncEngine

from replica.certificates import metrics as certificates
from replica.inbox import metrics as inbox
from replica.inbox.activity import HEARTBEAT_SECONDS_MAX
from replica.proof import metrics as proof
from replica.reconcile import metrics as reconcile
from replica.table import Replica
from service_kit.process.readings import read_again


async def refresh(
    replica: Replica,
    engine: AsyncEngine,
    *,
    heartbeat_seconds_max: float = HEARTBEAT_SECONDS_MAX,
) -> None:
    """Set those that come from the database, as the API and the consumer both show them.

    Without the database they have no values.
    """
    compared = (reconcile.differing, reconcile.last_reconciled, reconcile.degraded)
    own = () if replica.gauges is None else replica.gauges.readings
    proved = (proof.proof_age, certificates.agreement_ratio)
    with read_again(inbox.parked, inbox.heartbeat_age, *proved, *own, *compared):
        async with engine.connect() as connection:
            await inbox.refresh(connection)
            compared_at = await reconcile.refresh(replica, connection)
            await proof.refresh(
                connection, compared_at=compared_at, heartbeat_seconds_max=heartbeat_seconds_max
            )
            await certificates.refresh(connection)
            if replica.gauges is not None:
                await replica.gauges.refresh(connection)
