"""Conditions to wait for with ``eventually``, each with a message that says how far it got."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.inbox import applied, parked, replica


async def has_applied(engine: AsyncEngine, users: int) -> bool:
    """Whether the replica has an event of so many users."""
    found = await applied(engine)
    assert found == users, f"{found} of {users} users applied"
    return True


async def has_parked(engine: AsyncEngine, messages: int) -> bool:
    """Whether so many messages are parked."""
    found = len(await parked(engine))
    assert found == messages, f"{found} of {messages} messages parked"
    return True


async def is_at(engine: AsyncEngine, user_id: UUID, version: int) -> bool:
    """Whether the replica has the user at this version."""
    row = (await replica(engine)).get(user_id)
    assert row is not None, "the user is not there"
    assert row.version == version, f"at {row.version}, not {version}"
    return True
