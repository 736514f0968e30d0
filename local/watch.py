"""Watch both ends of the pipe from outside: how far is the replica behind, what is proved of it?"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

import aio_pika
from aio_pika.abc import AbstractConnection
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.events.names import live_queue
from local.addresses import Addresses
from local.outside import outside
from replica.inbox.activity import HEARTBEAT_SECONDS_MAX
from replica.proof.current import current
from replica.proof.model import CurrentProof, State, summary
from service_kit.broker.connection import connect
from service_kit.broker.queue_depths import depth

_EVERY_SECONDS: Final = 0.3
_SAMPLES_MAX: Final = 1_000
_COMMAND: Final = "blog-service"
_BURIED: Final = text("SELECT id FROM orphan_tombstones")


@dataclass(frozen=True)
class Proof:
    """The replica's last proof, as ``blog-service status`` shows it."""

    state: State = State.UNKNOWN
    text: str = "not proved yet"
    kinds: tuple[tuple[str, int], ...] = ()
    """The number of users who differ, by kind."""
    began: float | None = None
    """By ``time.monotonic``, or a little earlier; None if unknown. It saw all that was there."""

    def is_since(self, moment: float) -> bool:
        """Return whether it began after a moment of ``time.monotonic``."""
        return self.began is not None and self.began > moment


@dataclass(frozen=True)
class Sample:
    """Both ends at one moment. ``queued`` is None while the broker does not respond."""

    source_users: int = 0
    replica_users: int = 0
    behind: int = 0
    """Users whose version in the replica differs from the source's."""
    unpublished: int = 0
    queued: int | None = None
    proof: Proof = Proof()


class Watch:
    """Take a sample a few times a second."""

    def __init__(
        self, auth: AsyncConnection, blog: AsyncConnection, broker: AbstractConnection
    ) -> None:
        self._auth = auth
        self._blog = blog
        self._broker = broker
        self._taken = asyncio.Event()
        self.history: list[Sample] = []

    @classmethod
    @asynccontextmanager
    async def on(cls, addresses: Addresses) -> AsyncIterator[Self]:
        """Run a watch inside the block."""
        async with (
            outside(addresses.auth_database_url) as auth,
            outside(addresses.blog_database_url) as blog,
            await connect(addresses.blog_amqp_url, name="make demo") as broker,
        ):
            watch = cls(auth, blog, broker)
            watching = asyncio.create_task(watch._run())
            try:
                yield watch
            finally:
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching

    @property
    def latest(self) -> Sample:
        """The last sample; before the first, an empty one."""
        return self.history[-1] if self.history else Sample()

    async def next(self) -> Sample:
        """Wait for the next sample."""
        self._taken.clear()
        await self._taken.wait()
        return self.latest

    async def _run(self) -> None:
        while True:
            self.history.append(await self._sample())
            del self.history[:-_SAMPLES_MAX]
            self._taken.set()
            await asyncio.sleep(_EVERY_SECONDS)

    async def _sample(self) -> Sample:
        # The replica first: no state reaches it before the source has it.
        replica = await _versions(self._blog)
        buried = set(await self._blog.scalars(_BURIED))
        source = await _versions(self._auth)
        waiting = text("SELECT count(*) FROM outbox_events WHERE published_at IS NULL")
        return Sample(
            source_users=len(source),
            # Without tombstones that the source never had: both sides lack those users.
            replica_users=len(replica) - len(buried - source.keys()),
            behind=sum(replica.get(user_id) != version for user_id, version in source.items()),
            unpublished=int(await self._auth.scalar(waiting) or 0),
            queued=await self._queued(),
            proof=await _proof(self._blog),
        )

    async def _queued(self) -> int | None:
        try:
            return await depth(self._broker, live_queue("blog"))
        except aio_pika.exceptions.CONNECTION_EXCEPTIONS:
            return None


async def _versions(connection: AsyncConnection) -> dict[UUID, int]:
    rows = await connection.execute(text("SELECT id, version FROM users WHERE version > 0"))
    return {row.id: row.version for row in rows}


async def _proof(connection: AsyncConnection) -> Proof:
    now = time.monotonic()
    found = await current(connection)
    figures = summary(found, HEARTBEAT_SECONDS_MAX, command=_COMMAND)
    return Proof(
        figures["state"], figures["text"], tuple(figures["kinds"].items()), _began(found, now)
    )


def _began(found: CurrentProof, now: float) -> float | None:
    """Return when the proof began that came to the last verdict; None if unknown."""
    tried, age = found.tried_seconds, found.age_seconds
    if found.proved is None or tried is None or age is None:
        return None
    # A later attempt, still without a verdict, hides when that of the verdict began.
    return now - tried if tried >= age else None
