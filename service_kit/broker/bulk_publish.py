"""Publish many prepared messages with one write, and gather the broker's confirms of all of them.

Guarantees: each publish ends within its time limit, and at once when the channel or the connection
is lost. Each message has one outcome: returned, refused (nack), confirmed, or none of them in time.
Nothing is written while the broker has blocked the connection or stopped the channel's flow, and no
more than ``WRITE_BYTES_MAX`` and one message wait for the socket.

Relies on these insides of the library, which tests check, in addition to those of ``seam``: a
channel has a ``write_queue`` whose ``ChannelFrame`` is written as it is, in order, and whose
``drain_future`` is set once the socket has taken it; ``closing`` is done when the channel is; the
connection's ``ready`` waits while the broker has blocked it.

Not here: how a message becomes bytes.
"""

import asyncio
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Final

import pamqp.frame
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from pamqp.commands import Channel as ChannelMethods

from service_kit.broker.confirms import Confirms, Returns
from service_kit.broker.frames import METHOD
from service_kit.broker.seam import CLOSES, SeamConnection

WRITE_BYTES_MAX: Final = 1024 * 1024
"""Written at once; a wave of 500 events has a third of this."""

_RETURN: Final = b"\x00\x3c\x00\x32"
_ACK: Final = b"\x00\x3c\x00\x50"
_NACK: Final = b"\x00\x3c\x00\x78"
_FLOW: Final = b"\x00\x14\x00\x14"
_CONFIRM: Final = struct.Struct(">QB")  # tag, and the bit `multiple`


class Answer(StrEnum):
    """What became of a message."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"
    NACKED = "nacked"
    UNCONFIRMED = "unconfirmed"


class BulkPublisher:
    """Publishes on one channel with confirms, on which nothing else may publish."""

    def __init__(self, connection: SeamConnection, channel: Channel) -> None:
        self._connection = connection
        self._channel = channel
        self._confirms = Confirms()
        self._returns = Returns()
        self._news = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writing = asyncio.Lock()
        self._is_closed = False
        self._in_flight = 0  # publishes
        connection.tap(channel.number, self)

    async def publish(
        self, messages: Sequence[bytes], ids: Sequence[str], *, timeout_seconds: float
    ) -> list[Answer]:
        """Publish ``messages``, all in flight at once; return the answer to each.

        Parameters:
            messages: each with all its frames.
            ids: the ``message_id`` of each, by which a returned one is recognized.
            timeout_seconds: the limit for all of them.
        """
        if not messages:
            return []
        tags: list[int] = []
        with self._counted(), suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds) as limit:
                with self._cut_short_when_closed(limit):
                    async with self._writing:
                        await self._write(messages, tags)
                    while tags and not self._confirms.are_answered(tags[-1]):
                        self._news.clear()
                        await self._news.wait()
        unsent = [Answer.UNCONFIRMED] * (len(messages) - len(tags))
        answers = [self._answer(*sent) for sent in zip(tags, ids, strict=False)]
        self._returns.ids.difference_update(ids)
        self._confirms.forget(tags)
        return answers + unsent

    def take(self, kind: int, payload: bytes) -> bool:
        """Take confirms, refusals, returned messages, and what stops the flow."""
        if self._returns.is_in_one:
            self._returns.read(kind, payload)
            return True
        method = payload[:4]
        if kind != METHOD:
            return False
        if method in (_ACK, _NACK):
            tag, bits = _CONFIRM.unpack_from(payload, 4)
            self._confirms.answered(tag, multiple=bool(bits & 1), nack=method == _NACK)
        elif method == _RETURN:
            self._returns.begin()
        elif method == _FLOW:
            self._flow(is_active=bool(payload[4] & 1))
        else:
            self._is_closed = self._is_closed or method in CLOSES
            return False
        return True

    def taken(self) -> None:
        """Let the publishes look at what came."""
        self._news.set()

    async def _write(self, messages: Sequence[bytes], tags: list[int]) -> None:
        """Hand ``messages`` to the connection, and append the tags of those that it has taken."""
        drained: asyncio.Future[None] | None = None
        for part in _parts(messages):
            if drained is not None:
                await drained
            await self._flowing.wait()
            if self._connection.transport is not None:
                await self._connection.transport.ready()
            # On a closed channel, a frame would end the connection with all its channels.
            if self._is_closed or self._channel.is_closed:
                return
            drained = asyncio.get_running_loop().create_future()
            await self._channel.write_queue.put(ChannelFrame(b"".join(part), False, drained))
            tags += range(self._confirms.next_tag, self._confirms.next_tag + len(part))
            self._confirms.sent(len(part))

    def _answer(self, tag: int, message_id: str) -> Answer:
        if message_id in self._returns.ids:
            return Answer.RETURNED
        if self._confirms.is_nacked(tag):
            return Answer.NACKED
        return Answer.CONFIRMED if self._confirms.is_answered(tag) else Answer.UNCONFIRMED

    def _flow(self, *, is_active: bool) -> None:
        (self._flowing.set if is_active else self._flowing.clear)()
        answer = pamqp.frame.marshal(ChannelMethods.FlowOk(is_active), self._channel.number)
        # A full queue is one that the broker does not read, and it cannot be told anything.
        with suppress(asyncio.QueueFull):
            self._channel.write_queue.put_nowait(ChannelFrame(answer, False))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count a publish as in flight.

        The first of them forgets what came too late for earlier ones: a message that is published
        again has the same id, and only the new answer to it counts.
        """
        if not self._in_flight:
            self._confirms.forget_all()
            self._returns.ids.clear()
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    @contextmanager
    def _cut_short_when_closed(self, limit: asyncio.Timeout) -> Iterator[None]:
        """End ``limit`` when the channel is closed for any reason."""
        is_over = False

        def end(_: object) -> None:
            if not (is_over or limit.expired()):
                limit.reschedule(0)

        closing = self._channel.closing
        closing.add_done_callback(end)
        try:
            yield
        finally:
            is_over = True
            closing.remove_done_callback(end)
            closing.cancel()  # an observer of ours; without effect on a channel that is closed


def _parts(messages: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Split ``messages`` into what is written at once."""
    part: list[bytes] = []
    size = 0
    for message in messages:
        part.append(message)
        size += len(message)
        if size >= WRITE_BYTES_MAX:
            yield part
            part, size = [], 0
    if part:
        yield part
