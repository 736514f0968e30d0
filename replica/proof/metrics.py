"""What proofs show to Prometheus: how old the last one is, and who differed."""

import math
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from replica.proof.current import current
from replica.proof.model import why_degraded
from replica.reconcile.metrics import degraded, differing
from replica.reconcile.model import Kind
from service_kit.process.readings import Reading

proof_age: Final = Reading(
    "usersync_proof_age_seconds",
    "Since a proof last came to a verdict about the replica; NaN while proofs are off",
)


async def refresh(
    connection: AsyncConnection, *, compared_at: datetime | None, heartbeat_seconds_max: float
) -> None:
    """Set the gauges, after those of comparisons, of which a later proof replaces some.

    Parameters:
        connection: to read with.
        compared_at: when the last comparison ended; None before the first.
        heartbeat_seconds_max: the setting.
    """
    found = await current(connection)
    if why_degraded(found, heartbeat_seconds_max):
        degraded.set(1)
    age = found.age_seconds if found.is_on else None
    proof_age.set(math.nan if age is None else age)
    if found.proved is None or found.proved_at is None:
        return
    if compared_at is None or compared_at < found.proved_at:
        for kind in Kind:
            differing.labels(kind=kind.value).set(found.proved.differing.get(kind.value, 0))
