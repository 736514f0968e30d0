"""Which of two states of a user wins. Pure.

States merge by (deleted, version): a tombstone beats every living state, and among equals the
higher version wins. The merge is commutative, associative and idempotent, so that duplicates,
reordering, replays and several consumers all end in the same replica, and no table of message ids
is needed.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from operator import attrgetter
from uuid import UUID

from contracts.events import UserState, UserTombstone

State = UserState | UserTombstone
Rank = tuple[bool, int]


class Outcome(StrEnum):
    """What a message did to a replica; the ``outcome`` label of the consumer's metric.

    ``PARKED`` and ``SET_ASIDE`` are a consumer's words for what did nothing: the merge never says
    them. What is set aside is tried again by itself.
    """

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    STALE = "stale"
    TOMBSTONED = "tombstoned"
    PARKED = "parked"
    SET_ASIDE = "set_aside"


def rank(state: State) -> Rank:
    """The place of ``state`` among all states of its user; the highest one wins."""
    return isinstance(state, UserTombstone), state.version


def fold(states: Iterable[State]) -> list[State]:
    """The winning state of each user, sorted by id.

    One row a user, because PostgreSQL refuses to upsert a row twice; sorted, because two batches
    that lock the same rows must do so in the same order.
    """
    winners: dict[UUID, State] = {}
    for state in states:
        winner = winners.get(state.id)
        if winner is None or rank(winner) < rank(state):
            winners[state.id] = state
    return [winners[user_id] for user_id in sorted(winners, key=attrgetter("int"))]


def outcomes(states: Sequence[State], present: dict[UUID, Rank]) -> list[Outcome]:
    """What each of ``states`` did, in the order in which they came.

    ``present`` has the rank of the replica's row for every user whose fold was not applied. A
    state that was overtaken within its own batch counts as applied when it came first.
    """
    seen = dict(present)
    result = []
    for state in states:
        outcome = _outcome(rank(state), seen.get(state.id))
        if outcome is Outcome.APPLIED:
            seen[state.id] = rank(state)
        result.append(outcome)
    return result


def _outcome(coming: Rank, present: Rank | None) -> Outcome:
    if present is None or present < coming:
        return Outcome.APPLIED
    if present == coming:
        return Outcome.UNCHANGED
    was_deleted, _ = present
    is_deletion, _ = coming
    return Outcome.TOMBSTONED if was_deleted and not is_deletion else Outcome.STALE
