"""Whether a relay process can do its work, or sees that another one does.

Guarantees: a pipe whose source is silent is not ready: a database that takes no changes, a broker
that is away or silent, nobody active, or ``BEATS_MISSED_MAX`` heartbeats that were not recorded.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.model import BEATS_MISSED_MAX
from auth_service.outbox.relay import Relay
from auth_service.outbox.table import RELAY_LEASE
from service_kit.database import lease
from service_kit.database.away import require_writable

_PULSE = text(
    "SELECT extract(epoch FROM clock_timestamp() - heartbeat_at)::float AS age, trouble FROM source"
)


class NotReady(Exception):
    """The process cannot do its work. Subclasses say why.

    NotReady
    ├── BrokerAway
    ├── NoActiveRelay
    └── NoHeartbeat
    """


class BrokerAway(NotReady):
    """The active relay has no connection to the broker."""


class NoActiveRelay(NotReady):
    """This relay waits, and no other is active."""


class NoHeartbeat(NotReady):
    """None was recorded for so long that the active relay, this one or another, does not work."""


async def ready(relay: Relay, engine: AsyncEngine, *, heartbeat_seconds: float) -> str | None:
    """What the active relay meets, None for nothing.

    Raises:
        NotReady: this relay is active and cannot publish, or waits and sees none that does.
        NotWritable: the database only answers, which is why no relay can work.
    """
    async with engine.connect() as connection:
        await require_writable(connection)
        if not relay.is_active and not await lease.is_held(connection, RELAY_LEASE):
            raise NoActiveRelay
        pulse = (await connection.execute(_PULSE)).one()
    if pulse.age is None or pulse.age > BEATS_MISSED_MAX * heartbeat_seconds:
        raise NoHeartbeat
    if relay.is_active and relay.broker_trouble is not None:
        raise BrokerAway
    trouble: str | None = pulse.trouble
    return trouble
