"""Judge whether this relay process can publish, or sees that another one does.

Guarantees: a relay is not ready while its database takes no changes, the broker is away or silent,
no relay is active, or the last ``HEARTBEATS_MISSED_MAX`` heartbeats were not recorded.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.model import HEARTBEATS_MISSED_MAX
from auth_service.outbox.relay import Relay
from auth_service.outbox.table import RELAY_LEASE
from service_kit.database import lease
from service_kit.database.away import require_writable

_PULSE = text(
    "SELECT extract(epoch FROM clock_timestamp() - heartbeat_at)::float AS age, trouble FROM source"
)


class NotReady(Exception):
    """Base of the reasons why this process is not ready.

    NotReady
    ├── BrokerAway
    ├── NoActiveRelay
    └── NoHeartbeat
    """


class BrokerAway(NotReady):
    """The active relay has no connection to the broker."""


class NoActiveRelay(NotReady):
    """This relay does not lead, and no other does."""


class NoHeartbeat(NotReady):
    """No heartbeat was recorded for so long that the active relay cannot be working."""


async def ready(relay: Relay, engine: AsyncEngine, *, heartbeat_seconds: float) -> str | None:
    """Return the active relay's trouble, or None if it has none.

    Raises:
        NotReady: this relay leads and cannot publish, or it waits and sees no relay that publishes.
        NotWritable: the database takes no changes, so no relay can work.
    """
    async with engine.connect() as connection:
        await require_writable(connection)
        if not relay.is_active and not await lease.is_held(connection, RELAY_LEASE):
            raise NoActiveRelay
        pulse = (await connection.execute(_PULSE)).one()
    if pulse.age is None or pulse.age > HEARTBEATS_MISSED_MAX * heartbeat_seconds:
        raise NoHeartbeat
    if relay.is_active and relay.broker_trouble is not None:
        raise BrokerAway
    trouble: str | None = pulse.trouble
    return trouble
