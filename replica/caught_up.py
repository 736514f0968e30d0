"""Wait until a user's row has reached a version: read your own writes through another service.

The source returns the user's new ``version`` with every change. A client names it here, and gets
the row once it is at least as new. A tombstone has a version too, so that a deletion is waited for
in the same way.

Guarantees: however many requests wait, one statement at a time looks for all of them. Their number
and the time are bounded, since anybody may wait.

Not here: how a version gets into the row (``table``); the query parameters (``users.at_least``).
"""

import asyncio
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from replica.table import Replica
from service_kit.database.alone import fetch_alone

WAITING_MAX: Final = 200
"""Requests of one process that may wait. Under a quarter of its connections, so that waiting alone
cannot shut others out."""

WAITING_OF_A_NETWORK_MAX: Final = 20
"""Of these, requests from one network, so that no single client can occupy all places."""

WAIT_SECONDS_MAX: Final = 5.0
"""How long one may wait: half of what a stopping process gives to its requests, and less than any
proxy's limit. An event usually takes milliseconds; who waits longer should ask again."""

LOOK_EVERY_SECONDS: Final = 0.02
"""Between two statements while any request waits. An event takes a few milliseconds, and fifty
small statements a second are nothing to the database."""


class TooManyWait(Exception):
    """``WAITING_MAX`` requests wait already, or the network's share of them."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """A request that waits for ``version`` of a user; ``reached`` is done when the row has it."""

    user_id: UUID
    version: int
    network: str
    reached: asyncio.Future[None]


class CaughtUp:
    """Tells when users' rows have reached a version.

    Parameters:
        engine: the service's database.
        replica: whose rows.
    """

    def __init__(self, engine: AsyncEngine, replica: Replica) -> None:
        self._engine = engine
        self._query = f"SELECT id, version FROM {replica.name} WHERE id = ANY($1::uuid[])"  # noqa: S608 - a constant
        self._waiting: set[_Waiter] = set()
        self._looking: asyncio.Task[None] | None = None

    async def reaches(self, user_id: UUID, version: int, *, seconds: float, network: str) -> bool:
        """Return whether the user's row has at least ``version``, now or within ``seconds``.

        Parameters:
            network: of the client, as in ``service_kit.http.networks``.

        Raises:
            TooManyWait: it has not yet, and too many requests wait, or too many of the network.
            Exception: the driver's errors.
        """
        if (await self._versions({user_id})).get(user_id, 0) >= version:
            return True
        if seconds <= 0:
            return False
        of_the_network = sum(waiter.network == network for waiter in self._waiting)
        if len(self._waiting) >= WAITING_MAX or of_the_network >= WAITING_OF_A_NETWORK_MAX:
            raise TooManyWait
        waiter = _Waiter(user_id, version, network, asyncio.get_running_loop().create_future())
        self._waiting.add(waiter)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_while_any_waits())
        try:
            done, _ = await asyncio.wait({waiter.reached}, timeout=seconds)
        finally:
            self._waiting.discard(waiter)
            waiter.reached.cancel()
        for each in done:
            each.result()  # raises what the statement raised
        return bool(done)

    async def _look_while_any_waits(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(LOOK_EVERY_SECONDS)
                versions = await self._versions({waiter.user_id for waiter in self._waiting})
                for waiter in self._waiting:
                    if versions.get(waiter.user_id, 0) >= waiter.version:
                        _finish(waiter.reached)
        except Exception as error:
            for waiter in self._waiting:
                _finish(waiter.reached, error)
        finally:
            self._looking = None

    async def _versions(self, user_ids: set[UUID]) -> dict[UUID, int]:
        """The versions of those users that have a row."""
        rows = await fetch_alone(self._engine, self._query, list(user_ids))
        return {row["id"]: row["version"] for row in rows}


def _finish(reached: asyncio.Future[None], error: Exception | None = None) -> None:
    """Let a request continue, unless its time is up or it continues already."""
    if reached.done():
        return
    if error is None:
        reached.set_result(None)
    else:
        reached.set_exception(error)
