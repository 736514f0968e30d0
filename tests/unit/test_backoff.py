"""Pauses between retries."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from service_kit.process.backoff import SHORTEST_SECONDS, backoff_seconds, pause_seconds


def test_the_first_pause_is_the_shortest() -> None:
    """A server that restarts is back in seconds, and an early retry finds it."""
    assert backoff_seconds(1, longest=5.0) == SHORTEST_SECONDS


@given(st.floats(0.1, 3600))
def test_pauses_double_up_to_the_longest(longest: float) -> None:
    """No pause is more than twice the previous one, none is shorter, none exceeds the limit."""
    pauses = [backoff_seconds(failures, longest=longest) for failures in range(1, 40)]
    assert all(one <= other <= 2 * one for one, other in pairwise(pauses))
    assert pauses[-1] == min(longest, SHORTEST_SECONDS * 2**10)


@given(st.integers(1, 10**9))
def test_any_number_of_failures_gives_a_pause(failures: int) -> None:
    """Weeks without a server do not overflow the calculation."""
    assert 0 < backoff_seconds(failures, longest=5.0) <= 5.0
    assert 0 <= pause_seconds(failures, longest=5.0) <= backoff_seconds(failures, longest=5.0)


def test_a_crowd_that_fails_together_does_not_retry_together() -> None:
    """Their pauses fill the upper half of the interval: equal jitter."""
    crowd = [pause_seconds(6, longest=60.0) for _ in range(1_000)]
    tenths = {int(10 * pause / backoff_seconds(6, longest=60.0)) for pause in crowd}
    assert tenths == set(range(5, 10))
