"""The cutter of frames, against the client library's own parser."""

import asyncio
from collections.abc import Iterable
from itertools import pairwise

import pamqp.frame
from aiormq.connection import FrameReceiver
from aiormq.exceptions import AMQPConnectionError
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from service_kit.broker.frames import NO_FRAME, FrameCutter, body_frames, payload

channels = st.integers(0, 2**16 - 1)
frames = st.one_of(
    st.just(pamqp.frame.marshal(Heartbeat(), 0)),
    st.builds(
        lambda channel, tag, multiple: pamqp.frame.marshal(Basic.Ack(tag, multiple), channel),
        channels,
        st.integers(0, 2**63 - 1),
        st.booleans(),
    ),
    st.builds(
        lambda channel, size: pamqp.frame.marshal(
            ContentHeader(body_size=size, properties=Basic.Properties(message_id="m")), channel
        ),
        channels,
        st.integers(0, 2**40),
    ),
    st.builds(
        lambda channel, body: pamqp.frame.marshal(ContentBody(body), channel),
        channels,
        st.binary(min_size=1, max_size=300),  # the library refuses an empty body frame
    ),
)
streams = st.lists(frames, max_size=12)


def split(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Split ``data`` at these places, as reads of a socket do."""
    ends = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


def cut(parts: Iterable[bytes]) -> tuple[list[tuple[int, int, bytes]], bytes]:
    cutter = FrameCutter()
    return [each for part in parts for each in cutter.cut(part)], cutter.take_rest()


async def read_by_the_library(data: bytes) -> tuple[list[bytes], bool]:
    """Read all frames with the library; return them, and whether it refused one as invalid."""
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    read = []
    try:
        async for _, channel, frame in FrameReceiver(reader):
            read.append(pamqp.frame.marshal(frame, channel))
    except AMQPConnectionError:
        return read, False
    except Exception:  # it meets garbage with errors of many classes
        return read, True
    return read, False


def as_the_library_writes(frame: bytes) -> bytes:
    _, channel, read = pamqp.frame.unmarshal(frame)
    return pamqp.frame.marshal(read, channel)


@given(streams, st.lists(st.integers(0, 4000), max_size=20))
def test_every_split_gives_the_same_frames(stream: list[bytes], places: list[int]) -> None:
    found, rest = cut(split(b"".join(stream), places))
    assert [frame for _, _, frame in found] == stream
    assert rest == b""


@given(streams)
def test_byte_by_byte_gives_the_same_frames(stream: list[bytes]) -> None:
    found, rest = cut(bytes([byte]) for byte in b"".join(stream))
    assert [frame for _, _, frame in found] == stream
    assert rest == b""


@given(streams, st.integers(0, 4000))
async def test_the_frames_are_those_of_the_library(stream: list[bytes], end: int) -> None:
    """Of a truncated stream too: the rest of a frame is handed over with the end of the stream."""
    data = b"".join(stream)[:end]
    found, rest = cut([data])
    read, _ = await read_by_the_library(data)
    assert [frame for _, _, frame in found] == read
    assert b"".join(frame for _, _, frame in found) + rest == data


@given(streams, st.binary(min_size=1, max_size=60), st.lists(st.integers(0, 4000), max_size=9))
async def test_no_byte_of_garbage_is_lost(
    stream: list[bytes], garbage: bytes, places: list[int]
) -> None:
    """What comes out is what came in, and the frames before are those that the library reads."""
    data = b"".join([*stream, garbage, *stream])
    found, rest = cut(split(data, places))
    assert b"".join(part for _, _, part in found) + rest == data
    good = [part for kind, _, part in found if kind != NO_FRAME]
    read, _ = await read_by_the_library(data)
    assert [as_the_library_writes(part) for part in good[: len(read)]] == read


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_what_is_no_amqp_passes_unchanged(data: bytes, places: list[int]) -> None:
    found, rest = cut(split(data, places))
    assert b"".join(part for _, _, part in found) + rest == data


def test_the_rest_is_taken_once() -> None:
    """The end of a stream is told twice: by the peer, and when the socket is closed."""
    cutter = FrameCutter()
    assert not list(cutter.cut(b"\x01\x00"))
    assert cutter.take_rest() == b"\x01\x00"
    assert cutter.take_rest() == b""


async def test_an_invalid_frame_reaches_the_library_which_refuses_it() -> None:
    frame = pamqp.frame.marshal(Basic.Ack(7), 3)
    found, _ = cut([frame, frame[:-1] + b"\x00", frame])
    assert [kind for kind, _, _ in found] == [1, NO_FRAME, NO_FRAME]
    _, is_invalid = await read_by_the_library(b"".join(part for _, _, part in found))
    assert is_invalid


@given(st.binary(max_size=200), st.integers(1, 80), channels)
def test_a_body_is_split_as_the_library_splits_it(body: bytes, size: int, channel: int) -> None:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    built = body_frames(channel, body, size)
    assert built == b"".join(pamqp.frame.marshal(ContentBody(part), channel) for part in parts)
    assert b"".join(payload(frame) for _, _, frame in cut([built])[0]) == body
