"""The account of confirms, against one that remembers every tag; and of returned messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from service_kit.broker.confirms import Confirms, Returns
from service_kit.broker.frames import BODY, HEADER, METHOD

answers = st.lists(
    st.one_of(
        st.integers(1, 6),  # messages sent
        st.tuples(st.integers(0, 30), st.booleans(), st.booleans()),  # tag, multiple, nack
    ),
    max_size=40,
)


@given(answers)
def test_confirms_count_in_any_order(steps: list[int | tuple[int, bool, bool]]) -> None:
    """Single and multiple, of known and unknown tags: the first answer to a tag counts."""
    confirms = Confirms()
    expected: dict[int, bool | None] = {}

    for step in steps:
        if isinstance(step, int):
            expected |= dict.fromkeys(range(len(expected) + 1, len(expected) + 1 + step))
            confirms.sent(step)
            continue
        tag, multiple, nack = step
        confirms.answered(tag, multiple=multiple, nack=nack)
        last = tag or len(expected)
        for each in range(1, last + 1) if multiple else [tag]:
            if each in expected and expected[each] is None:
                expected[each] = nack

    assert confirms.next_tag == len(expected) + 1
    for tag, answer in expected.items():
        assert confirms.is_answered(tag) == (answer is not None)
        assert confirms.is_nacked(tag) == bool(answer)
        before = [expected[each] for each in range(1, tag + 1)]
        assert confirms.are_answered(tag) == (None not in before)


def test_what_is_confirmed_takes_no_memory() -> None:
    confirms = Confirms()
    for tag in range(1, 10_001):
        confirms.sent(1)
        confirms.answered(tag, multiple=tag % 7 == 0, nack=tag % 3 == 0)
        confirms.forget([tag])

    assert not confirms._ahead
    assert not confirms._nacked


def test_forgetting_some_tags_keeps_the_refusals_of_others() -> None:
    confirms = Confirms()
    confirms.sent(3)
    confirms.answered(3, multiple=True, nack=True)
    confirms.forget([2, 3])
    assert [confirms.is_nacked(tag) for tag in (1, 2, 3)] == [True, False, False]


def test_the_frames_of_returned_messages_are_counted() -> None:
    returns = Returns()
    for message_id, parts in (("a", [b"xx", b"xxx"]), ("b", []), ("c", [b"x"])):
        size = sum(map(len, parts))
        header = ContentHeader(0, size, Basic.Properties(message_id=message_id)).marshal()
        returns.begin()
        for frame in [(HEADER, header), *((BODY, part) for part in parts)]:
            assert returns.is_in_one
            returns.read(*frame)
        assert not returns.is_in_one

    assert returns.ids == {"a", "b", "c"}


def test_frames_out_of_place_in_a_returned_message_are_refused() -> None:
    header = (HEADER, ContentHeader(body_size=5).marshal())
    ack = (METHOD, Basic.Ack(1).marshal())
    for frames in ([ack], [(BODY, b"x")], [header, header], [header, ack]):
        returns = Returns()
        returns.begin()
        *good, bad = frames
        for frame in good:
            returns.read(*frame)
        with pytest.raises(ValueError, match="out of place"):
            returns.read(*bad)
