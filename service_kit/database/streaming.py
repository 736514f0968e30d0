"""Read the rows of a query one after the other, however many there are."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncConnection


async def streamed(
    connection: AsyncConnection, query: Select[Any]
) -> AsyncIterator[dict[str, Any]]:
    """Yield each row, of which some hundred are in memory at a time."""
    async with connection.stream(query) as result:
        async for row in result.mappings():
            yield {**row}
