"""A client of a live tail: it reads server-sent events as they come."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from service_kit.process.tasks import end_tasks
from tests.support.eventually import eventually


@dataclass
class Watched:
    """What a tail has sent so far: the lines, other events by name, and the last id."""

    headers: httpx.Headers
    text: str = ""
    lines: list[dict[str, Any]] = field(default_factory=list)
    others: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    last_id: str = ""
    is_over: bool = False

    def seen(self, **wanted: object) -> list[dict[str, Any]]:
        """The lines that have these values."""
        return [line for line in self.lines if wanted.items() <= line.items()]

    async def shows(self, **wanted: object) -> dict[str, Any]:
        """Wait for a line with these values, and return the first of them."""
        return (await eventually(lambda: self.seen(**wanted)))[0]

    async def end(self) -> str:
        """Wait for the end of the response, and return the reason that it gave."""
        await eventually(lambda: self.is_over)
        [ended] = self.others["end"]
        reason: str = ended["reason"]
        return reason

    def take(self, block: str) -> None:
        """Read a block as WHATWG HTML 9.2.6 says."""
        name, data = "message", []
        for line in block.split("\n"):
            key, _, value = line.partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                data.append(value)
            elif key == "id":
                self.last_id = value
        if data and name == "message":
            self.lines.append(json.loads("\n".join(data)))
        elif data:
            self.others.setdefault(name, []).append(json.loads("\n".join(data)))


@asynccontextmanager
async def watching(
    url: str, headers: Mapping[str, str], *, after: str = "", **params: Any
) -> AsyncIterator[Watched]:
    """Read a tail inside the block.

    Parameters:
        after: the id after which it continues.
    """
    sent = {**headers, **({"Last-Event-ID": after} if after else {})}
    async with (
        httpx.AsyncClient(timeout=60, trust_env=False) as client,
        client.stream("GET", url, headers=sent, params=params) as response,
    ):
        assert response.status_code == 200, await response.aread()
        watched = Watched(response.headers)
        reading = asyncio.create_task(_read(response, watched))
        # The first comment says that lines are read from now on.
        await eventually(lambda: watched.text)
        try:
            yield watched
        finally:
            await end_tasks(reading)


async def _read(response: httpx.Response, watched: Watched) -> None:
    rest = ""
    async for text in response.aiter_text():
        watched.text += text
        *blocks, rest = (rest + text).split("\n\n")
        for block in blocks:
            watched.take(block)
    watched.is_over = True
