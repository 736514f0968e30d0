"""Deliveries put together from frames, against what the frames were made of."""

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from service_kit.broker.bulk_receive import BulkReceiver
from service_kit.broker.delivery import Delivery
from service_kit.broker.frames import BODY, HEADER, METHOD, FrameCutter, payload

KEPT_MAX = 50

names = st.text(max_size=60)
deliveries = st.lists(
    st.builds(
        Delivery,
        tag=st.integers(1, 2**63 - 1),
        queue=names,
        redelivered=st.booleans(),
        exchange=st.text("abcXYZ09-_.:", max_size=60),
        routing_key=names,
        header=st.builds(Basic.Properties, message_id=st.text(min_size=1, max_size=60)),
        body=st.binary(max_size=100),
        dropped_bytes=st.just(0),
    ),
    max_size=6,
)


class Received:
    """Keeps bodies of up to ``KEPT_MAX`` bytes."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.reads = 0

    def takes(self, body_bytes: int) -> bool:
        return body_bytes <= KEPT_MAX

    def receive(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)

    def received(self) -> None:
        self.reads += 1


def frames_of(delivery: Delivery, size_max: int) -> list[Frame | ContentHeader | ContentBody]:
    parts = [delivery.body[at : at + size_max] for at in range(0, len(delivery.body), size_max)]
    return [
        Basic.Deliver(
            delivery.queue,
            delivery.tag,
            delivery.redelivered,
            delivery.exchange,
            delivery.routing_key,
        ),
        ContentHeader(properties=delivery.properties, body_size=len(delivery.body)),
        *map(ContentBody, parts),
    ]


@given(deliveries, st.integers(1, 120), st.integers(1, 300))
def test_deliveries_are_what_was_sent(sent: list[Delivery], size_max: int, read: int) -> None:
    """Bodies of any number of frames, split over any reads; those too large are dropped."""
    data = b"".join(
        pamqp.frame.marshal(frame, 3) for each in sent for frame in frames_of(each, size_max)
    )
    received, cutter = Received(), FrameCutter()
    tap = BulkReceiver(received)

    for at in range(0, len(data), read):
        for kind, _, frame in cutter.cut(data[at : at + read]):
            assert tap.take(kind, payload(frame))
        tap.taken()

    assert len(received.deliveries) == len(sent)
    for ours, theirs in zip(received.deliveries, sent, strict=True):
        is_kept = len(theirs.body) <= KEPT_MAX
        expected = theirs if is_kept else theirs._replace(body=b"", dropped_bytes=len(theirs.body))
        assert ours._replace(header=theirs.header) == expected
        assert dict(ours.properties) == dict(theirs.properties)


def test_names_that_are_not_utf8_are_kept_readable() -> None:
    received = Received()
    tap = BulkReceiver(received)
    deliver = pamqp.frame.marshal(Basic.Deliver("queue", 1, False, "exch", "key"), 3)
    for name, odd in ((b"queue", b"qu\xffue"), (b"exch", b"ex\xffh"), (b"key", b"k\xff\xff")):
        deliver = deliver.replace(name, odd)

    tap.take(METHOD, payload(deliver))
    tap.take(HEADER, ContentHeader(body_size=0).marshal())

    [delivery] = received.deliveries
    assert (delivery.queue, delivery.exchange, delivery.routing_key) == (
        *(r"qu\xffue", r"ex\xffh", r"k\xff\xff"),
    )


def test_what_is_no_delivery_is_left_to_the_library() -> None:
    tap = BulkReceiver(Received())
    for method in (Basic.CancelOk("c"), Basic.Cancel("c"), Basic.QosOk(), Basic.ConsumeOk("c")):
        assert not tap.take(METHOD, payload(pamqp.frame.marshal(method, 3)))
    assert not tap.take(HEADER, ContentHeader(body_size=0).marshal())
    assert not tap.take(BODY, b"x")


def test_frames_out_of_place_are_refused() -> None:
    deliver = payload(pamqp.frame.marshal(Basic.Deliver("q", 1, False, "", "k"), 3))
    header = ContentHeader(body_size=5).marshal()
    for frames in (
        [(METHOD, deliver), (METHOD, deliver)],
        [(METHOD, deliver), (BODY, b"x")],
        [(METHOD, deliver), (HEADER, header), (HEADER, header)],
        [(METHOD, deliver), (HEADER, header), (METHOD, deliver)],
    ):
        tap = BulkReceiver(Received())
        *good, bad = frames
        for frame in good:
            assert tap.take(*frame)
        with pytest.raises(ValueError, match="message"):
            tap.take(*bad)
