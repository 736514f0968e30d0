"""Headers of deliveries, against the client library's decoder."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from contracts.events.envelope import encode
from replica.inbox.lenient_amqp import read_amqp_leniently
from service_kit.broker.delivery import Delivery, headers_of_texts
from tests.support.builders import a_state, a_tombstone, an_event

names = st.text(max_size=20)
tables = st.dictionaries(
    names,
    st.text(max_size=40)
    | st.integers(-(2**40), 2**40)
    | st.booleans()
    | st.none()
    | st.binary().map(bytearray),
    max_size=6,
)
properties = st.builds(
    Basic.Properties,
    content_type=st.none() | st.text(max_size=20),
    content_encoding=st.none() | st.text(max_size=20),
    headers=st.none() | st.dictionaries(names, st.text(max_size=300), max_size=12) | tables,
    message_id=st.none() | st.text(max_size=20),
)


def delivery(header: bytes | Basic.Properties) -> Delivery:
    return Delivery(1, "q", False, "", "", header, b"")


def read_by_the_library(header: bytes) -> dict[str, Any] | None:
    read = ContentHeader()
    read.unmarshal(header)
    return read.properties.headers


@given(properties)
def test_headers_are_those_of_the_library(written: Basic.Properties) -> None:
    header = ContentHeader(properties=written, body_size=7).marshal()
    read = delivery(header)
    assert read.headers == read_by_the_library(header)
    assert read.properties.message_id == (written.message_id or None)


@given(properties, st.lists(st.tuples(st.integers(12, 400), st.integers(0, 255)), max_size=4))
def test_damaged_headers_are_read_as_the_library_reads_them(
    written: Basic.Properties, damages: list[tuple[int, int]]
) -> None:
    """Or not at all; an exception would end the connection of every message behind it."""
    read_amqp_leniently()
    damaged = bytearray(ContentHeader(properties=written, body_size=7).marshal())
    for at, value in damages:
        damaged[at % len(damaged)] = value

    read = delivery(bytes(damaged))

    try:
        expected = read_by_the_library(bytes(damaged))
    except Exception:
        assert read.properties == Basic.Properties()
    else:
        assert read.headers == expected


@given(st.binary(max_size=100))
def test_rubbish_is_read_as_empty(rubbish: bytes) -> None:
    read = delivery(rubbish)
    assert isinstance(read.properties, Basic.Properties)
    assert read.headers is None or isinstance(read.headers, dict)


def test_events_need_no_help_of_the_library() -> None:
    for event in (an_event(a_state()), an_event(a_tombstone())):
        message = encode(event)
        header = ContentHeader(properties=message.properties, body_size=1).marshal()
        assert headers_of_texts(header) == message.headers
