"""Test that readers share a few connections, in turn and with a time limit."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.database.reader import Reader


async def test_readers_wait_in_order(blog_engine: AsyncEngine) -> None:
    """A reader that arrives as a turn ends waits behind earlier readers."""
    reader = Reader(blog_engine, at_once=1, wait_seconds=10)
    served: list[int] = []

    async def read(number: int, *, again: bool = False) -> None:
        await reader.rows("SELECT 1")
        served.append(number)
        if again:
            await read(-number)

    await asyncio.gather(*(read(number, again=True) for number in range(1, 6)))

    assert served == [1, 2, 3, 4, 5, -1, -2, -3, -4, -5]


async def test_a_reader_that_waits_too_long_gives_up(blog_engine: AsyncEngine) -> None:
    """If the database hangs, waiting readers give up; later ones get a turn again."""
    reader = Reader(blog_engine, at_once=1, wait_seconds=0.1)
    slow = asyncio.create_task(reader.rows("SELECT pg_sleep(1)"))
    await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await reader.rows("SELECT 1")

    assert len(await slow) == 1
    assert len(await reader.rows("SELECT 1")) == 1
