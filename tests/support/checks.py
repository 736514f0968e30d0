"""Conditions for ``eventually``; a failed one reports how far it got."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.inbox import applied, parked, replica


async def has_applied(engine: AsyncEngine, users: int) -> bool:
    found = await applied(engine)
    assert found == users, f"{found} of {users} users applied"
    return True


async def has_parked(engine: AsyncEngine, messages: int) -> bool:
    found = len(await parked(engine))
    assert found == messages, f"{found} of {messages} messages parked"
    return True


async def is_at(engine: AsyncEngine, user_id: UUID, version: int) -> bool:
    row = (await replica(engine)).get(user_id)
    assert row is not None, "the replica does not have the user"
    assert row.version == version, f"at {row.version}, not {version}"
    return True
