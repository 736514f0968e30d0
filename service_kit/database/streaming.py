"""Read the rows of a query one after the other, however many there are."""

from collections.abc import AsyncIterator
from typing import Any, Final

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncConnection

ROWS_IN_MEMORY: Final = 100
"""8 MB of the longest posts; the round trips do not show beside what is done with that many."""


async def streamed(
    connection: AsyncConnection, query: Select[Any]
) -> AsyncIterator[dict[str, Any]]:
    """Yield each row, of which at most ``ROWS_IN_MEMORY`` are read ahead."""
    async with connection.stream(
        query, execution_options={"max_row_buffer": ROWS_IN_MEMORY}
    ) as result:
        async for row in result.mappings():
            yield {**row}
