"""Sign-ups, changes and deletions at a steady rate, directly in the auth database.

Each is one transaction that changes a user and records the event with the service's own code, like
the use cases, but without 100 ms of password hashing.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from sqlalchemy import func, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.outbox.record import erase, record
from auth_service.users.table import FIRST_VERSION, NEXT_VERSION, to_user, users
from contracts.events import UserCreated, UserDeleted, UserTombstone, UserUpdated
from service_kit.database.away import DATABASE_AWAY

WORKERS = 3


class Load:
    def __init__(self, engine: AsyncEngine, per_second: int) -> None:
        self._engine = engine
        self._pause = WORKERS / per_second
        self._random = random.Random(17)
        self._living: list[UUID] = []
        self._stopping = False
        self.changes = 0
        self.deleted: list[UUID] = []
        """Users whose deletion was acknowledged."""

    async def work(self) -> None:
        """Change users; retry while the database is away."""
        next_at = asyncio.get_running_loop().time()
        while not self._stopping:
            try:
                async with self._engine.begin() as connection:
                    deleted = await self._change(connection)
                self.changes += 1
                self.deleted += deleted
            except DATABASE_AWAY:
                pass
            next_at = max(next_at + self._pause, asyncio.get_running_loop().time() - 1)
            await asyncio.sleep(max(0.0, next_at - asyncio.get_running_loop().time()))

    def stop(self) -> None:
        self._stopping = True

    async def _change(self, connection: AsyncConnection) -> list[UUID]:
        """Make one change; return who was deleted."""
        kind = self._random.random()
        if kind < 0.4 or len(self._living) < 20:
            self._living.append(await sign_up(connection))
        elif kind < 0.9:
            await change(connection, self._random.choice(self._living))
        else:
            user_id = self._living.pop(self._random.randrange(len(self._living)))
            await delete(connection, user_id)
            return [user_id]
        return []


@asynccontextmanager
async def loaded(engine: AsyncEngine, *, per_second: int = 300) -> AsyncIterator[Load]:
    load = Load(engine, per_second)
    working = [asyncio.create_task(load.work()) for _ in range(WORKERS)]
    try:
        yield load
    finally:
        load.stop()
        await asyncio.gather(*working)


async def sign_up(connection: AsyncConnection) -> UUID:
    values = {
        "email": f"{uuid4().hex}@example.org",
        "password_hash": "none",
        "version": FIRST_VERSION,
    }
    row = (await connection.execute(insert(users).values(values).returning(users))).one()
    await record(connection, UserCreated.type, to_user(row).state())
    user_id: UUID = row.id
    return user_id


async def sign_up_many(engine: AsyncEngine, users: int) -> None:
    async with engine.begin() as connection:
        for _ in range(users):
            await sign_up(connection)


async def change(connection: AsyncConnection, user_id: UUID) -> None:
    values = {
        "email": f"{uuid4().hex}@example.org",
        "roles": [f"role {random.randrange(5)}"],
        "status": random.choice(["active", "active", "disabled"]),
        "version": NEXT_VERSION,
        "updated_at": func.now(),
    }
    living = (users.c.id == user_id, users.c.status != "deleted")
    changed = await connection.execute(update(users).where(*living).values(values).returning(users))
    row = changed.one_or_none()
    if row is not None:
        await record(connection, UserUpdated.type, to_user(row).state())


async def delete(connection: AsyncConnection, user_id: UUID) -> None:
    """Delete a user and record the event; do nothing if the user is already deleted."""
    values = {
        "version": NEXT_VERSION,
        "status": "deleted",
        "deleted_at": func.now(),
        "email": None,
        "email_verified": False,
        "password_hash": None,
        "roles": [],
        "tokens_valid_after": None,
    }
    deleted = await connection.execute(
        update(users)
        .where(users.c.id == user_id, users.c.status != "deleted")
        .values(values)
        .returning(users.c.version, users.c.deleted_at)
    )
    row = deleted.one_or_none()
    if row is not None:
        await erase(connection, user_id)
        tombstone = UserTombstone(id=user_id, version=row.version, deleted_at=row.deleted_at)
        await record(connection, UserDeleted.type, tombstone)
