"""The account of confirms, against one that remembers every tag."""

from hypothesis import given
from hypothesis import strategies as st

from service_kit.broker.confirms import Confirms

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
        confirms.forget(tag)

    assert not confirms._ahead
    assert not confirms._nacked
