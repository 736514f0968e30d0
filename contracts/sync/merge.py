"""Decide which of two states of a user wins. Pure.

States merge by (deleted, version): a tombstone beats every live state, and otherwise the higher
version wins. The merge is commutative, associative and idempotent. Duplicates, reordering, replays
and several consumers therefore lead to the same replica, and no table of message ids is needed.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from operator import attrgetter
from uuid import UUID

from contracts.events import UserState, UserTombstone

State = UserState | UserTombstone
Rank = tuple[bool, int]


class Outcome(StrEnum):
    """The effect of a message on a replica; the ``outcome`` label of the consumer's metric.

    Only a consumer reports ``PARKED`` and ``SET_ASIDE``, for messages without effect; the merge
    never returns them. The consumer retries messages that it set aside.
    """

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    STALE = "stale"
    TOMBSTONED = "tombstoned"
    PARKED = "parked"
    SET_ASIDE = "set_aside"


def rank(state: State) -> Rank:
    """Rank ``state`` among all states of its user; the highest rank wins."""
    return isinstance(state, UserTombstone), state.version


def fold(states: Iterable[State]) -> list[State]:
    """Return the winning state of each user, sorted by id.

    One row per user, because PostgreSQL refuses to upsert a row twice; sorted, because two batches
    must lock the same rows in the same order.
    """
    winners: dict[UUID, State] = {}
    for state in states:
        winner = winners.get(state.id)
        if winner is None or rank(winner) < rank(state):
            winners[state.id] = state
    return [winners[user_id] for user_id in sorted(winners, key=attrgetter("int"))]


def outcomes(states: Sequence[State], present: dict[UUID, Rank]) -> list[Outcome]:
    """Return the effect of each state of a batch, in order of arrival.

    Parameters:
        states: the batch; a state that a later one of the batch supersedes counts as applied.
        present: the rank of the replica's row for every user whose fold was not applied.
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
