"""A FastStream handler with one upsert transaction per message, acknowledged after the commit."""

import os
from datetime import datetime
from uuid import UUID

from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import create_async_engine

from blog_service.replica_of_users import USERS
from blog_service.users.table import users


class User(BaseModel):
    """The state of a user, as the event carries it."""

    id: UUID
    version: int
    email: str
    email_verified: bool
    roles: list[str]
    status: str
    tokens_valid_after: datetime | None
    created_at: datetime
    updated_at: datetime


# As many messages at once as the pool has connections: more would only wait for one.
_CONNECTIONS = 10

engine = create_async_engine(os.environ["PEER_REPLICA_URL"], pool_size=_CONNECTIONS)
broker = RabbitBroker(
    os.environ["PEER_AMQP_URL"], default_channel=Channel(prefetch_count=_CONNECTIONS)
)
app = FastStream(broker)


@broker.subscriber(
    RabbitQueue(USERS.queues.live, declare=False), ack_policy=AckPolicy.NACK_ON_ERROR
)
async def apply(user: User) -> None:
    """Insert the user, or update the row if the event is newer."""
    upsert = insert(users).values(user.model_dump())
    newer = upsert.on_conflict_do_update(
        index_elements=[users.c.id],
        set_={name: upsert.excluded[name] for name in User.model_fields if name != "id"},
        where=users.c.version < upsert.excluded.version,
    )
    async with engine.begin() as connection:
        await connection.execute(newer)
