"""What a live tail shows at most, and that it misses nothing that is committed out of order."""

from service_kit.process.tail import GAP_SECONDS, GAPS_MAX, Pace, Positions


def test_a_missing_position_is_looked_for_until_it_is_found() -> None:
    positions = Positions(10)
    positions.note([11, 13, 14], now=0)
    assert (positions.high, list(positions.gaps), positions.low) == (14, [12], 11)
    positions.note([12], now=1)
    assert (positions.high, positions.gaps, positions.low) == (14, {}, 14)


def test_a_position_that_was_rolled_back_is_given_up() -> None:
    positions = Positions(10)
    positions.note([12], now=0)
    positions.note([], now=GAP_SECONDS + 1)
    assert (positions.gaps, positions.low) == ({}, 12)


def test_a_jump_of_a_restored_source_leaves_few_gaps() -> None:
    """``restored`` moves the sequence past every position that was issued before."""
    positions = Positions(10)
    positions.note([2**40], now=0)
    assert len(positions.gaps) == GAPS_MAX
    assert min(positions.gaps) == 2**40 - GAPS_MAX


def test_a_pace_allows_bursts_and_no_more_in_the_long_run() -> None:
    pace = Pace(50, now=0.0)
    assert pace.take(1_000, now=0.0) == 100
    assert pace.take(1_000, now=0.0) == 0
    assert pace.take(10, now=1.0) == 10
    assert pace.take(1_000, now=1.0) == 40
    assert sum(pace.take(1_000, now=1 + second / 2) for second in range(1, 21)) == 500
