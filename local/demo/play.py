"""Let the demonstration happen: traffic, three faults, and how each heals.

Guarantees: however it ends, no damage to the replica's rows is left without a request to repair it.
Times are of a run on a quiet machine; on a busy one everything is waited for.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from local.damage import delete_row, edit_row, simulated_people
from local.demo.scene import Mood, Story
from local.errors import LocalError
from local.outside import outside
from local.traffic import Traffic
from local.watch import Sample, Watch
from replica.proof.model import State
from replica.reconcile import runs
from replica.reconcile.model import Reason, repairable
from service_kit.process.actors import operator_actor

_ACTOR: Final = operator_actor("make demo")
_PATIENCE_SECONDS: Final = 60.0
"""For each step: three proofs in a row could fail. Usually a step takes a few seconds."""

_UNDER_TRAFFIC_MAX: Final = 10
"""Users who may be behind under traffic: events of a few are always on their way."""

_THERE: Final = text("SELECT count(*) FROM users WHERE id = :id")


class Consumer(Protocol):
    """The process that the demonstration kills and starts again."""

    @property
    def pid(self) -> int | None:
        """Its pid while it runs."""

    def kill(self) -> None:
        """Kill it (SIGKILL)."""

    def start(self) -> object:
        """Start it."""

    def wait_until_ready(self) -> None:
        """Wait until it is ready."""


@dataclass(frozen=True)
class Pace:
    """How long what cannot be waited for lasts, in seconds."""

    calm: float = 6.0
    """Traffic before anything breaks."""
    away: float = 7.0
    """The consumer is down."""


@dataclass(frozen=True)
class Play:
    """One demonstration: what it acts on."""

    story: Story
    traffic: Traffic
    watch: Watch
    consumer: Consumer
    blog_database_url: str
    pace: Pace = Pace()

    async def run(self) -> None:
        """Play all of it.

        Raises:
            LocalError: a step took too long; names it.
        """
        self.story.note(Mood.CALM, "people sign up, change their address, leave")
        people = asyncio.create_task(self.traffic.run())
        try:
            await asyncio.sleep(self.pace.calm)
            await self._consumer_killed()
            await self._rows_damaged()
        finally:
            self.traffic.stop()
            await people
        self.story.note(Mood.HEALS, "traffic has ended; the last proof is to see all of it")
        await self._until("no event is on its way", lambda now: now.behind == 0)
        drained = time.monotonic()
        proved = await self._until(
            "the replica is proved",
            lambda now: now.proof.state is State.EQUAL and now.proof.is_since(drained),
        )
        self.story.note(Mood.PROVED, proved.proof.text)

    async def _consumer_killed(self) -> None:
        """Kill the consumer; sign-ups continue, and nothing is lost."""
        note, consumer = self.story.note, self.consumer
        note(Mood.BREAKS, f"kill -9 {consumer.pid}: the consumer is down, sign-ups continue")
        await asyncio.to_thread(consumer.kill)
        await asyncio.sleep(self.pace.away)
        behind = self.watch.latest.behind
        await asyncio.to_thread(consumer.start)
        note(Mood.HEALS, f"the consumer is restarted, {behind:,} users behind")
        await asyncio.to_thread(consumer.wait_until_ready)
        await self._until("the replica has caught up", lambda now: now.behind <= _UNDER_TRAFFIC_MAX)
        note(Mood.CALM, "it has caught up with the source")
        # The times of the pause would hide the usual figure.
        self.traffic.refused_after_seconds.clear()

    async def _rows_damaged(self) -> None:
        """Delete a row and edit another: the proof fetches one, names the other."""
        note = self.story.note
        async with outside(self.blog_database_url) as blog:
            deleted, edited = await _two(blog)
            before = _corrupt(self.watch.latest)
            async with _repaired(blog) as repair:
                note(
                    Mood.BREAKS,
                    "by SQL in the replica: one user's row is deleted, another's e-mail is changed",
                )
                await delete_row(blog, deleted)
                await edit_row(blog, edited)
                damaged = time.monotonic()
                named = await self._until(
                    "a proof names the damage", lambda now: _corrupt(now) > before
                )
                note(Mood.BREAKS, f"named after {_since(damaged)}: {_kinds(named)}")
                async for _ in self._samples("the deleted row is back"):
                    if await blog.scalar(_THERE, {"id": deleted}):
                        break
                note(Mood.HEALS, "the deleted row is back: what is missing is fetched by itself")
                run_id = await repair()
                note(Mood.HEALS, "an operator requests the rest: blog-service reconcile --repair")
                repaired = await self._ended(blog, run_id)
        note(Mood.CALM, f"repaired {repaired} after {_since(damaged)}; the next proof confirms it")

    async def _ended(self, blog: AsyncConnection, run_id: UUID) -> str:
        """Wait until a comparison has ended; return the number of users that it repaired."""
        count = 0
        async for _ in self._samples("the repair has ended"):
            found = await runs.run_by_id(blog, run_id)
            if found is not None and found.finished_at is not None:
                count = sum((found.repaired or {}).values())
                break
        return f"{count:,} {'user' if count == 1 else 'users'}"

    async def _until(self, what: str, holds: Callable[[Sample], bool]) -> Sample:
        async for now in self._samples(what):
            if holds(now):
                break
        return now

    async def _samples(self, what: str) -> AsyncIterator[Sample]:
        """Yield sample after sample; raise LocalError when ``what`` has taken too long."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            yield await self.watch.next()
        raise LocalError(
            f"It took more than {_PATIENCE_SECONDS:.0f} s until {what};"
            " see make status and make logs."
        )


@asynccontextmanager
async def _repaired(blog: AsyncConnection) -> AsyncIterator[Callable[[], Awaitable[UUID]]]:
    """Yield the function that requests a repair; after the block it was called in any case."""
    requested: list[UUID] = []

    async def repair() -> UUID:
        requested.append(
            await runs.request(
                blog,
                reason=Reason.OPERATOR,
                requested_by=_ACTOR,
                repairs=repairable(repair=True, ahead=False, orphans=False),
                deletions_max=0,
            )
        )
        return requested[0]

    try:
        yield repair
    finally:
        if not requested:
            await repair()


async def _two(blog: AsyncConnection) -> tuple[UUID, UUID]:
    found = await simulated_people(blog, 2)
    if len(found) < 2:
        raise LocalError("Nobody has signed up; see make logs.")
    return found[0], found[1]


def _corrupt(now: Sample) -> int:
    return dict(now.proof.kinds).get("corrupt", 0)


def _kinds(now: Sample) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in now.proof.kinds)


def _since(moment: float) -> str:
    return f"{time.monotonic() - moment:.1f} s"
