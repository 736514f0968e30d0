"""A broker of a few lines that a test tells what to send, such as what RabbitMQ sends rarely."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pamqp.frame
from aiormq.connection import FrameReceiver
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel, Confirm, Connection, Exchange
from pamqp.common import FieldTable
from pamqp.header import ContentHeader

_ANSWERS: dict[type, Frame] = {
    Connection.Open: Connection.OpenOk(),
    Connection.Close: Connection.CloseOk(),
    Channel.Open: Channel.OpenOk(),
    Channel.Close: Channel.CloseOk(),
    Confirm.Select: Confirm.SelectOk(),
    Basic.Qos: Basic.QosOk(),
    Basic.Consume: Basic.ConsumeOk(),
    Exchange.Declare: Exchange.DeclareOk(),
}


class ScriptedBroker:
    """Opens connections and channels, remembers what it is sent, and never confirms by itself."""

    def __init__(self, frame_max: int) -> None:
        self.port = 0
        self._frame_max = frame_max
        self.received: list[tuple[int, object]] = []
        self._writer: asyncio.StreamWriter | None = None

    def send(self, channel: int, *frames: Frame | ContentHeader | ContentBody) -> None:
        """Send ``frames`` to the client, in one piece."""
        self.send_bytes(b"".join(pamqp.frame.marshal(frame, channel) for frame in frames))

    def send_bytes(self, data: bytes) -> None:
        """Send what need not be frames."""
        assert self._writer is not None
        self._writer.write(data)

    def end(self) -> None:
        """End the connection without a word, after what was sent."""
        assert self._writer is not None
        self._writer.close()

    def count(self, kind: type) -> int:
        """How many frames of a kind were received."""
        return sum(isinstance(frame, kind) for _, frame in self.received)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        with suppress(asyncio.IncompleteReadError):
            assert await reader.readexactly(8) == b"AMQP\x00\x00\x09\x01"
            properties: FieldTable = {"capabilities": {"publisher_confirms": True}}
            self.send(
                0,
                Connection.Start(server_properties=properties, mechanisms="PLAIN", locales="en_US"),
            )
            tune = Connection.Tune(channel_max=100, frame_max=self._frame_max, heartbeat=60)
            answers = _ANSWERS | {Connection.StartOk: tune}
            with suppress(ConnectionError):
                async for _, channel, frame in FrameReceiver(reader):
                    self.received.append((channel, frame))
                    answer = answers.get(type(frame))
                    if answer is not None:  # one without fields is false
                        self.send(channel, answer)
        writer.close()


@asynccontextmanager
async def scripted_broker(
    tls: ssl.SSLContext | None = None, *, frame_max: int = 4096
) -> AsyncIterator[ScriptedBroker]:
    """Run one inside the block, at ``port`` of the loopback interface."""
    broker = ScriptedBroker(frame_max)
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0, ssl=tls)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield broker
    finally:
        server.close()
