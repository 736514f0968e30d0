"""What comparing shows to Prometheus: what differed last, as of when, and whether it is due."""

from datetime import datetime

from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncConnection

from replica.reconcile import runs
from replica.reconcile.model import Kind
from replica.reconcile.schedule import why_degraded
from replica.table import Replica
from service_kit.process.readings import Reading

differing = Gauge(
    "usersync_reconcile_differing_users",
    "Users who differed in the last comparison and were not repaired, by kind",
    ["kind"],
)
last_reconciled = Reading(
    "usersync_last_reconciled_timestamp_seconds",
    "As of when the replica was last compared, by the source's clock; 0 before the first time",
)
degraded = Reading(
    "usersync_degraded",
    "1 while the replica may be incomplete: a comparison is due, or messages wait by themselves",
)


async def refresh(replica: Replica, connection: AsyncConnection) -> datetime | None:
    """Set the gauges: all of them from the database, so that every process shows the same.

    Only a run that ended with a verdict counts; one that could not compare proves nothing.

    Returns:
        When that run ended; None before the first.
    """
    last = await runs.last_comparison(connection)
    found = (last.differing or {}) if last else {}
    repaired = (last.repaired or {}) if last else {}
    for kind in Kind:
        differing.labels(kind=kind.value).set(found.get(kind, 0) - repaired.get(kind, 0))
    last_reconciled.set(last.source_at.timestamp() if last and last.source_at else 0)
    degraded.set(await why_degraded(replica, connection) is not None)
    return last.finished_at if last else None
