"""Put deliveries together from the frames of a tapped channel.

Guarantees: deliveries come whole and in order. A body that is not to be kept is dropped frame by
frame as it arrives. A frame out of place ends the connection, as it does in the client library.

Relies on ``seam`` only: the library subscribes, and sees none of the deliveries.
"""

from typing import Final, Protocol

from service_kit.broker.delivery import Delivery
from service_kit.broker.frames import HEADER, METHOD

_DELIVER: Final = b"\x00\x3c\x00\x3c"


class Receiver(Protocol):
    """What gets the deliveries. It is called while the socket is read, so briefly."""

    def takes(self, body_bytes: int) -> bool:
        """Tell whether to keep a body of this size."""

    def receive(self, delivery: Delivery) -> None:
        """Get a delivery."""

    def received(self) -> None:
        """Act on the deliveries from one read of the socket."""


class BulkReceiver:
    """A tap that hands deliveries to a receiver."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._start: tuple[int, str, bool, str, str] | None = None  # of the delivery in progress
        self._header = b""
        self._body: list[bytes] = []
        self._size = 0
        self._missing = 0
        self._is_kept = True

    def take(self, kind: int, payload: bytes) -> bool:
        """Take the frames of deliveries."""
        if kind == METHOD:
            if self._start is not None:
                raise ValueError("a method in the middle of a message")
            if payload[:4] != _DELIVER:
                return False
            self._start = _read_deliver(payload)
            self._header = b""
            return True
        if self._start is None:
            return False
        if bool(self._header) == (kind == HEADER):
            raise ValueError("a message without a header, or with two")
        if kind == HEADER:
            self._header = payload
            self._size = self._missing = int.from_bytes(payload[4:12], "big")
            self._is_kept = self._receiver.takes(self._size)
        else:
            self._missing -= len(payload)
            if self._is_kept:
                self._body.append(payload)
        if self._missing <= 0:
            self._finish(*self._start)
        return True

    def taken(self) -> None:
        """Have the receiver act."""
        self._receiver.received()

    def _finish(self, tag: int, queue: str, redelivered: bool, exchange: str, key: str) -> None:
        body = b"".join(self._body)
        dropped = 0 if self._is_kept else self._size
        self._start = None
        self._body.clear()
        self._receiver.receive(
            Delivery(tag, queue, redelivered, exchange, key, self._header, body, dropped)
        )


def _read_deliver(payload: bytes) -> tuple[int, str, bool, str, str]:
    """Read tag, consumer tag, whether it is redelivered, exchange and routing key."""
    consumer_end = 5 + payload[4]
    tag = int.from_bytes(payload[consumer_end : consumer_end + 8], "big")
    exchange_at = consumer_end + 10
    exchange_end = exchange_at + payload[exchange_at - 1]
    key_end = exchange_end + 1 + payload[exchange_end]
    return (
        tag,
        _text(payload[5:consumer_end]),
        bool(payload[consumer_end + 8] & 1),
        _text(payload[exchange_at:exchange_end]),
        _text(payload[exchange_end + 1 : key_end]),
    )


def _text(value: bytes) -> str:
    """Decode a name, which may be any bytes."""
    return value.decode("utf-8", errors="backslashreplace")
