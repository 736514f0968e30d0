"""Cut the bytes of an AMQP 0-9-1 connection into frames, and build content frames. Pure.

Guarantees: however the bytes are split, every byte comes out exactly once and in order, and a frame
only when it is complete. Bytes that cannot be a frame come out as they are, with all that follow,
so that the client library can refuse them as it always does.
"""

import struct
from collections.abc import Iterator
from typing import Final

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
HEARTBEAT: Final = 8

NO_FRAME: Final = 0
"""The kind of bytes that are not a frame."""

HEARTBEAT_FRAME: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"

_KINDS: Final = frozenset((METHOD, HEADER, BODY, HEARTBEAT))
_END: Final = 0xCE
_START: Final = struct.Struct(">BHI")  # kind, channel, length of the payload
_OVERHEAD: Final = _START.size + 1  # with the end


class FrameCutter:
    """Cuts what is received on one connection, from its first byte."""

    def __init__(self) -> None:
        self._rest = bytearray()  # of an incomplete frame
        self._needed = _START.size  # bytes of it until it can be cut
        self._is_garbage = False

    def cut(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Yield kind, channel and all bytes of each frame that ``data`` completes."""
        if self._is_garbage:
            yield NO_FRAME, 0, data
            return
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        start, size = 0, len(data)
        self._needed = _START.size
        while size - start >= _START.size:
            kind, channel, length = _START.unpack_from(data, start)
            end = start + _OVERHEAD + length
            if kind in _KINDS and end > size:
                self._needed = end - start
                break
            if kind not in _KINDS or data[end - 1] != _END:
                self._is_garbage = True
                yield NO_FRAME, 0, data[start:]
                return
            yield kind, channel, data[start:end]
            start = end
        self._rest += data[start:]

    def take_rest(self) -> bytes:
        """Return the bytes of an incomplete frame, after which no more come, and forget them."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest


def payload(frame: bytes) -> bytes:
    """Return what a frame carries."""
    return frame[_START.size : -1]


def body_frames(channel: int, body: bytes, size_max: int) -> bytes:
    """Build the frames of a message's body, none for an empty one.

    Parameters:
        channel: the channel's number.
        body: the body.
        size_max: the bytes that a frame may carry, as negotiated with the broker.
    """
    parts = [body[at : at + size_max] for at in range(0, len(body), size_max)]
    return b"".join([b"%b%b\xce" % (_START.pack(BODY, channel, len(each)), each) for each in parts])
