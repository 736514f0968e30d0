"""What certificates show to Prometheus: the agreement of each window."""

from typing import Final

from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncConnection

from replica.certificates.agreement import windows
from replica.certificates.store import marks

agreement_ratio: Final = Gauge(
    "usersync_agreement_ratio",
    "Share of the last hour, day and 30 days in which the replica was proved to equal its source",
    ["window"],
)


async def refresh(connection: AsyncConnection) -> None:
    """Set the gauge; a window of which nothing is known yet has no value."""
    agreement_ratio.clear()
    for window, found in windows(*await marks(connection)).items():
        if found is not None:
            agreement_ratio.labels(window=window).set(found.ratio)
