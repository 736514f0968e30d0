"""The limit of an initial load: COPY of the replicated columns from one database to another.

Two connections in one process pass the blocks of one to the other as they arrive, in the binary
format, which is faster. The table has the same columns and primary key as the replica, but neither
its other index nor its constraints.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from benchmarks.stage import Stage, connect
from replica.columns import FIELDS

_BLOCKS_MAX: Final = 64

_MAKE: Final = (
    f"CREATE TABLE copied AS SELECT {', '.join(FIELDS)} FROM users LIMIT 0",  # noqa: S608 - constants
    "ALTER TABLE copied ADD PRIMARY KEY (id)",
)


@asynccontextmanager
async def table_to_copy_to(stage: Stage) -> AsyncIterator[None]:
    """Create the table in the replica's database for the block."""
    for statement in _MAKE:
        await stage.run(stage.blog_url, statement)
    try:
        yield
    finally:
        await stage.run(stage.blog_url, "DROP TABLE copied")


async def copy_users(stage: Stage) -> float:
    """Copy all users of the source into the emptied table; return seconds."""
    await stage.run(stage.blog_url, "TRUNCATE copied")
    started = time.perf_counter()
    await _copy(stage, "copied", FIELDS)
    return time.perf_counter() - started


async def copy_to_replica(stage: Stage) -> None:
    """Make the replica equal to its source, without any event."""
    await stage.empty_replica()
    await _copy(stage, "users", [_OF_LIVING.get(name, name) for name in FIELDS])


_OF_LIVING: Final = {
    name: f"CASE WHEN deleted_at IS NULL THEN {name} END" for name in ("created_at", "updated_at")
}
"""What a replica stores of living users alone."""


async def _copy(stage: Stage, table: str, values: Iterable[str]) -> None:
    source, target = await connect(stage.auth_url), await connect(stage.blog_url)
    blocks: asyncio.Queue[bytes | None] = asyncio.Queue(_BLOCKS_MAX)

    async def read() -> None:
        query = f"SELECT {', '.join(values)} FROM users"  # noqa: S608 - made of constants
        await source.copy_from_query(query, output=blocks.put, format="binary")
        await blocks.put(None)

    async def arriving() -> AsyncIterator[bytes]:
        while (block := await blocks.get()) is not None:
            yield block

    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(read())
            both.create_task(
                target.copy_to_table(
                    table, source=arriving(), columns=tuple(FIELDS), format="binary"
                )
            )
    finally:
        await source.close()
        await target.close()
