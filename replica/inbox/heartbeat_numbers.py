"""Decide what the number of a heartbeat says about the messages before it. Pure.

This states what ``heartbeats`` decides in SQL. ``tests/integration/test_heartbeat_gaps.py``
compares the two, and the model of the protocol (``tests/model``) runs this code.
"""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class SuspicionKind(StrEnum):
    """Why messages may have been lost."""

    GAP = "gap"
    BACKWARDS = "backwards"
    QUEUE_LOST = "queue_lost"


class Last(NamedTuple):
    """The last heartbeat of a source that was applied, and the suspicion that no run has cleared.

    ``recorded_at`` is the heartbeat's time by the source's clock.
    """

    number: int
    recorded_at: datetime
    suspicion: SuspicionKind | None = None


def follow(last: Last | None, number: int, recorded_at: datetime) -> Last | None:
    """Return what follows from the next heartbeat; None if it is a duplicate, or was overtaken."""
    if last is None:
        return Last(number, recorded_at)
    if number == last.number + 1:
        return Last(number, recorded_at, last.suspicion)
    if number > last.number:
        return Last(number, recorded_at, SuspicionKind.GAP)
    if recorded_at > last.recorded_at:
        return Last(number, recorded_at, SuspicionKind.BACKWARDS)
    return None


def covers(last: Last | None, number: int, recorded_at: datetime) -> bool:
    """Whether ``last`` is this heartbeat, or a later one.

    After a restore of the source, a higher number alone could be from before the restore.
    """
    return last is not None and last.number >= number and last.recorded_at >= recorded_at
