"""Generate histories of a few users, and every order in which a broker may deliver them."""

from itertools import pairwise
from uuid import UUID

from hypothesis import strategies as st

from contracts.sync.merge import State
from tests.support.builders import a_state, a_tombstone

USERS = [UUID(int=number) for number in range(1, 5)]


@st.composite
def histories(draw: st.DrawFn) -> list[State]:
    """Generate what a source recorded: each user's versions rise, and a deletion is the last."""
    history: list[State] = []
    versions = dict.fromkeys(USERS, 0)
    deleted: set[UUID] = set()
    for _ in range(draw(st.integers(1, 24))):
        user_id = draw(st.sampled_from(USERS))
        if user_id in deleted:
            continue
        versions[user_id] += draw(st.integers(1, 3))
        if draw(st.integers(0, 5)) == 0:
            deleted.add(user_id)
            history.append(a_tombstone(user_id, versions[user_id]))
        else:
            # Addresses are drawn with repetition: two users may swap theirs.
            email = draw(st.sampled_from(["a@example.org", "b@example.org", "c@example.org"]))
            history.append(a_state(user_id, versions[user_id], email=email))
    return history


def deliveries(history: list[State]) -> st.SearchStrategy[list[State]]:
    """Generate the history in any order, with duplicates and without gaps."""
    repeated = st.lists(st.sampled_from(history), max_size=12) if history else st.just([])
    return repeated.flatmap(lambda again: st.permutations([*history, *again]))


def orders_with_duplicates(
    history: list[State],
) -> st.SearchStrategy[tuple[list[State], list[State]]]:
    """Generate two deliveries of the same history."""
    return st.tuples(deliveries(history), deliveries(history))


@st.composite
def splits(draw: st.DrawFn, history: list[State]) -> list[list[State]]:
    """Generate a delivery of the history, cut into batches."""
    delivery = draw(deliveries(history))
    cuts = sorted(draw(st.lists(st.integers(0, len(delivery)), max_size=6)))
    edges = [0, *cuts, len(delivery)]
    return [delivery[start:end] for start, end in pairwise(edges)]
