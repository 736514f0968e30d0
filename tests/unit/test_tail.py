"""What a live tail shows at most, and that it misses nothing that is committed out of order."""

from datetime import UTC, datetime
from uuid import uuid4

from service_kit.http.tails.hub import LINES_MAX, Tail
from service_kit.process.tail import (
    GAP_SECONDS,
    GAPS_MAX,
    Batch,
    Line,
    Pace,
    Positions,
    Wanted,
)


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


async def test_what_a_slow_client_does_not_take_is_counted_and_not_kept() -> None:
    """Only lines that are wanted count."""
    now, user = datetime.now(UTC), uuid4()
    ids = {"version": None, "event_id": None, "recorded_at": None}
    line = Line(at=now, stage="recorded", type="user.updated", user_id=user, **ids)
    other = Line(at=now, stage="recorded", type="user.updated", user_id=uuid4(), **ids)
    tail = Tail(Wanted(user_id=user))
    for mark in ("1", "2", "3"):
        tail.put(Batch([line, other] * (LINES_MAX // 2), mark))
    taken = await tail.take(0)
    assert (len(taken.lines), taken.left_out) == (LINES_MAX, LINES_MAX // 2)
    assert taken.mark == "3"
    assert (await tail.take(0)).lines == []
