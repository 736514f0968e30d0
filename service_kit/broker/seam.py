"""Take the content of chosen channels off an AMQP connection before the client library reads it.

aio-pika opens the connection, its channels, exchanges and queues, keeps it alive and closes it. For
each message, though, it starts a task, waits on a lock, a queue and a future, and writes once. A
tap gets the frames of its channel as they come, many at a time; all others go on to the library.

Guarantees: what no tap takes reaches the library whole and in order. A tap ends with its channel,
whose number may be used again. The library sees that the broker is alive while only taps get
anything. An error in a tap ends the connection, as a malformed frame does; no tap gets anything
after it.

Relies on these insides of the library, which tests check: ``aio_pika.Connection`` keeps in
``kwargs`` what it passes to ``aiormq.Connection``; that one takes a ``transport_factory``, calls
its ``create`` with the address, an ``ssl_context_provider`` and arguments of ``create_connection``,
and reads through the ``StreamReader`` that it gets; a channel has a ``number``.
"""

import asyncio
from typing import Any, Final, Protocol

import aio_pika
from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

from service_kit.broker.frames import HEARTBEAT_FRAME, METHOD, FrameCutter, payload

CLOSES: Final = (b"\x00\x14\x00\x28", b"\x00\x14\x00\x29")
"""The methods Channel.Close and Channel.CloseOk: no tap takes them."""

_LIFE_SECONDS: Final = 0.25
"""How often to show the library that the broker is alive, at most. It waits eleven seconds, and
after ten without data the broker sends a heartbeat of its own."""


class Tap(Protocol):
    """What gets the frames of a channel. It is called while the socket is read, so briefly."""

    def take(self, kind: int, payload: bytes) -> bool:
        """Take a frame, or return False to leave it to the library."""

    def taken(self) -> None:
        """Act on the frames taken from one read of the socket."""


class _Reader(asyncio.StreamReader):
    """The library's end of the socket: gets only the frames that no tap takes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._cutter = FrameCutter()
        self._time = loop.time
        self._showed_life = 0.0
        self.taps: dict[int, Tap] = {}

    def feed_data(self, data: Any) -> None:  # bytes; the base class says less
        if self.exception() is not None:
            return  # the cutter stopped in the middle of a read, and what follows is no frame
        try:
            self._share_out(data)
        except Exception as error:
            # Only the type: the error may quote what was received.
            failed = ConnectionError(f"a tap failed: {type(error).__name__}")
            failed.__cause__ = error
            self.set_exception(failed)

    def feed_eof(self) -> None:
        # Called at the end of the stream and again when the socket is closed. The base class
        # takes no data after the first.
        if rest := self._cutter.take_rest():
            super().feed_data(rest)
        super().feed_eof()

    def _share_out(self, data: bytes) -> None:
        taps, fed = self.taps, []
        took: dict[int, Tap] = {}
        for kind, channel, frame in self._cutter.cut(data):
            tap = taps.get(channel)
            if tap is not None:
                content = payload(frame)
                if tap.take(kind, content):
                    took[channel] = tap
                    continue
                if kind == METHOD and content[:4] in CLOSES:
                    del taps[channel]
            fed.append(frame)
        if fed:
            super().feed_data(b"".join(fed))
        if took:
            for tap in took.values():
                tap.taken()
            if not fed and self._time() > self._showed_life + _LIFE_SECONDS:
                self._showed_life = self._time()
                super().feed_data(HEARTBEAT_FRAME)


class _Transports(TransportFactory):
    """Opens TCP and TLS connections as the library does, with a reader of ours."""

    def __init__(self) -> None:
        self.reader: _Reader | None = None

    async def create(
        self, url: URL, **options: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect.

        Raises:
            AMQPConnectionError: nobody answers, or TLS fails.
        """
        certificates = options.pop("ssl_context_provider")
        tls = await certificates.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        self.reader = reader = _Reader(loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol, **options | {"host": url.host, "port": url.port, "ssl": tls}
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class SeamConnection(aio_pika.Connection):
    """aio-pika's connection, whose channels can be tapped."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._transports = _Transports()
        self.kwargs["transport_factory"] = self._transports

    def tap(self, channel: int, tap: Tap) -> None:
        """Hand the frames of the channel with this number to ``tap`` from now on."""
        reader = self._transports.reader
        assert reader is not None  # a channel was opened, so there is a connection
        reader.taps[channel] = tap
