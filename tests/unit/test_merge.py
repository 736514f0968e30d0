"""Merging states is commutative, associative and idempotent."""

from itertools import pairwise

from hypothesis import given

from contracts.sync.merge import Outcome, State, fold, outcomes, rank
from tests.support.builders import a_state, a_tombstone
from tests.support.histories import histories, orders_with_duplicates, splits


@given(histories().flatmap(orders_with_duplicates))
def test_every_order_and_duplication_folds_to_the_same_states(
    orders: tuple[list[State], list[State]],
) -> None:
    one, other = orders
    assert fold(one) == fold(other)


@given(histories().flatmap(splits))
def test_every_split_folds_to_the_same_states(batches: list[list[State]]) -> None:
    whole = [state for batch in batches for state in batch]
    piecewise: list[State] = []
    for batch in batches:
        piecewise = fold([*piecewise, *batch])
    assert piecewise == fold(whole)


@given(histories())
def test_a_fold_has_one_state_per_user_sorted_by_id(history: list[State]) -> None:
    """PostgreSQL rejects a row twice in one upsert, and two batches must not deadlock."""
    folded = fold(history)
    assert all(one.id < other.id for one, other in pairwise(folded))


def test_a_tombstone_beats_a_live_state_of_any_version() -> None:
    tombstone = a_tombstone(version=5)
    later = a_state(tombstone.id, version=9)
    assert fold([tombstone, later]) == fold([later, tombstone]) == [tombstone]


def test_outcomes_of_a_batch_are_in_its_order() -> None:
    state = a_state(version=5)
    older = a_state(state.id, version=4)
    newer = a_state(state.id, version=6)
    tombstone = a_tombstone(state.id, version=7)
    late = a_state(state.id, version=8)

    assert outcomes([state, state, older, newer, tombstone, late], {}) == [
        *(Outcome.APPLIED, Outcome.UNCHANGED, Outcome.STALE),
        *(Outcome.APPLIED, Outcome.APPLIED, Outcome.TOMBSTONED),
    ]


def test_outcomes_depend_on_the_existing_row() -> None:
    """A state that is not newer than the row has no effect."""
    state = a_state(version=5)
    assert outcomes([state], {state.id: rank(state)}) == [Outcome.UNCHANGED]
    assert outcomes([state], {state.id: (False, 6)}) == [Outcome.STALE]
    assert outcomes([state], {state.id: (True, 1)}) == [Outcome.TOMBSTONED]
