"""Break the system in one way at a time, and start again what was stopped.

Guarantees: what was killed starts again, by itself after a while, at an operator's wish before, and
when the injector ends; a second fault is refused until the first one needs nothing more from here.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from aio_pika.abc import AbstractQueue

from contracts.events.names import live_queue
from local.damage import add_row, delete_row, edit_row
from local.errors import LocalError
from local.faults.model import (
    BACK_AFTER_SECONDS,
    LOST_PEOPLE,
    MEANWHILE_PEOPLE,
    Broken,
    Fault,
    Step,
)
from local.faults.people import arrived, sign_up
from local.faults.stage import Process, Stage
from local.outside import outside
from service_kit.broker.connection import connect

log = structlog.get_logger()

_FILL_SECONDS_MAX: Final = 20.0
"""For the relay to publish; usually milliseconds."""
_LOOK_EVERY_SECONDS: Final = 0.1


class Busy(Exception):
    """Another fault is still being caused, or what it stopped is still down."""


class Refused(Exception):
    """This fault would harm what is not ours; says why."""


class Injector:
    """Breaks one system."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._work: asyncio.Task[None] | None = None
        self._back = asyncio.Event()
        self.current: Broken | None = None

    @property
    def stage(self) -> Stage:
        """The system that it breaks."""
        return self._stage

    async def strike(self, fault: Fault, by: UUID) -> Broken:
        """Break the system; return when the fault has struck.

        Raises:
            Busy, Refused: see there; nothing is broken.
            LocalError: it cannot be broken in this way now; what was stopped starts again.
        """
        if self._work is not None and not self._work.done():
            raise Busy("Another fault is not over yet.")
        if why := self._stage.refused().get(fault):
            raise Refused(why)
        self._back.clear()
        self.current = Broken(fault, by, _now())
        log.info("fault.struck", fault=fault, user_id=str(by))
        has_struck = asyncio.Event()
        self._work = asyncio.create_task(self._cause(fault, has_struck))
        struck = asyncio.create_task(has_struck.wait())
        await asyncio.wait([self._work, struck], return_when=asyncio.FIRST_COMPLETED)
        struck.cancel()
        if self._work.done() and (error := self._work.exception()):
            self.current = None
            raise error
        return self._current

    def start_again(self) -> None:
        """Start at once what is stopped; do nothing if nothing is."""
        self._back.set()

    async def close(self) -> None:
        """Start what is stopped, and end."""
        self._back.set()
        if self._work is not None:
            await asyncio.wait([self._work])

    async def _cause(self, fault: Fault, has_struck: asyncio.Event) -> None:
        try:
            if fault is Fault.KILL_CONSUMER:
                await self._stop_for_a_while(self._stage.consumer, "the consumer", has_struck)
            elif fault is Fault.STOP_BROKER:
                assert self._stage.broker is not None  # it would have been refused
                await self._stop_for_a_while(self._stage.broker, "the broker", has_struck)
            elif fault is Fault.PURGE_QUEUE:
                await self._purge()
            else:
                await self._damage(fault)
        except LocalError as error:
            if not has_struck.is_set():
                raise
            self._note(str(error))
        finally:
            has_struck.set()
            self._change(is_over=True, back_at=None)

    async def _stop_for_a_while(
        self, process: Process, name: str, has_struck: asyncio.Event
    ) -> None:
        pid = process.pid
        seconds = BACK_AFTER_SECONDS[self._current.fault]
        await asyncio.to_thread(process.kill)
        due = asyncio.get_running_loop().time() + seconds
        self._struck(back_at=_now() + timedelta(seconds=seconds))
        self._note(f"{name} was stopped" + (f" (kill -9 {pid})" if pid else ""))
        has_struck.set()
        try:
            await self._show_that_sign_ups_continue()
            async with asyncio.timeout_at(due):
                await self._back.wait()
        except TimeoutError:
            pass
        finally:
            await asyncio.to_thread(process.start)
            self._note(f"{name} was started again")

    async def _show_that_sign_ups_continue(self) -> None:
        try:
            people = await sign_up(self._stage.auth_url, MEANWHILE_PEOPLE)
            self._note(f"{len(people)} people signed up meanwhile")
        except LocalError as error:
            self._note(str(error))

    async def _purge(self) -> None:
        """Lose the sign-ups of some people: with a living consumer, the queue would be empty."""
        consumer = self._stage.consumer
        async with self._queue() as queue:
            await asyncio.to_thread(consumer.kill)
            try:
                self._note("the consumer was stopped, so that messages wait")
                people = await sign_up(self._stage.auth_url, LOST_PEOPLE)
                self._note(f"{len(people)} people signed up")
                await _filled(queue, len(people))
                purged = await queue.purge()
                self._struck(users=tuple(people))
                self._note(f"{purged.message_count or 0:,} messages were purged")
            finally:
                await asyncio.to_thread(consumer.start)
                self._note("the consumer was started again")

    async def _damage(self, fault: Fault) -> None:
        async with outside(self._stage.blog_database_url) as blog:
            if fault is Fault.ADD_ROW:
                self._struck(users=(await add_row(blog),))
                self._note("a user was added to the replica by SQL")
                return
            [person] = await sign_up(self._stage.auth_url, 1)
            self._note("a person signed up")
            await arrived(blog, person)
            await (delete_row if fault is Fault.DELETE_ROW else edit_row)(blog, person)
            self._struck(users=(person,))
            what = "was deleted" if fault is Fault.DELETE_ROW else "got another e-mail address"
            self._note(f"their row in the replica {what} by SQL")

    @asynccontextmanager
    async def _queue(self) -> AsyncIterator[AbstractQueue]:
        async with (
            await connect(self._stage.blog_amqp_url, name="faults") as connection,
            connection.channel() as channel,
        ):
            yield await channel.declare_queue(live_queue("blog"), passive=True)

    @property
    def _current(self) -> Broken:
        assert self.current is not None  # set before anything is caused
        return self.current

    def _struck(self, **changes: object) -> None:
        self._change(at=_now(), **changes)

    def _note(self, text: str) -> None:
        self._change(steps=(*self._current.steps, Step(_now(), text)))

    def _change(self, **changes: object) -> None:
        self.current = replace(self._current, **changes)  # type: ignore[arg-type]


async def _filled(queue: AbstractQueue, count: int) -> None:
    """Wait until so many messages are in the queue."""
    deadline = asyncio.get_running_loop().time() + _FILL_SECONDS_MAX
    while (
        (
            await queue.channel.declare_queue(queue.name, passive=True)
        ).declaration_result.message_count
        or 0
    ) < count:
        if asyncio.get_running_loop().time() > deadline:
            raise LocalError("The relay publishes nothing; see make status.")
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


def _now() -> datetime:
    return datetime.now(UTC)
