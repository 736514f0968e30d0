"""Messages that are parked already, as the consumer parks them."""

from collections.abc import Mapping
from typing import Any

from pamqp.commands import Basic
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.replica_of_users import USERS
from contracts.events import Event
from contracts.events.envelope import encode
from replica.inbox.parking import park
from service_kit.broker.delivery import Delivery
from tests.support.inbox import fetch

UNTIL_NOW = ("unknown_schema", "until the upgrade")
"""A reason that has passed."""


def a_delivery(
    event: Event, *, body: bytes | None = None, headers: Mapping[str, Any] | None = None
) -> Delivery:
    """``event`` as the broker delivers it, with another body or more headers."""
    message = encode(event)
    properties = message.properties
    properties.headers = {**(properties.headers or {}), **(headers or {})}
    body = message.body if body is None else body
    return Delivery(1, "blog.users", False, "users", event.type, properties, body)


def rubbish(body: bytes = b"{ someone@example.org") -> Delivery:
    properties = Basic.Properties(headers={"odd": b"\xff", "deep": [{"$bytes": None}]})
    return Delivery(1, "blog.users", False, "", "nowhere", properties, body)


async def park_deliveries(
    engine: AsyncEngine, *deliveries: Delivery, reason: str = UNTIL_NOW[0]
) -> list[int]:
    """Park them in one transaction; their ids, in their order."""
    async with engine.begin() as connection:
        for delivery in deliveries:
            await park(USERS, connection, delivery, reason, UNTIL_NOW[1])
    rows = await fetch(engine, "SELECT id FROM parked_messages ORDER BY id")
    return [row.id for row in rows[-len(deliveries) :]]


async def park_events(engine: AsyncEngine, *events: Event) -> list[int]:
    """Park events that can be applied by now; their ids, in their order."""
    return await park_deliveries(engine, *(a_delivery(event) for event in events))
