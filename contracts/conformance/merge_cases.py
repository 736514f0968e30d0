"""Sequences of messages about one user, and the row in which they end.

Computed by ``contracts.sync.merge``. Each message names its lane: ``live`` events, copies of
``urgent`` ones, or ``replay``. The order within a lane is that of the case; no case depends on the
order of lanes.
"""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any, Final

from contracts.conformance.messages import a_state, a_tombstone, id_of, of_state, row_of
from contracts.sync.merge import State, fold

LANES: Final = ("live", "urgent", "replay")

_Step = tuple[str, State]


def cases() -> list[dict[str, Any]]:
    """All cases; no two are about the same user."""
    return [
        {
            "name": name,
            "user": str(id_of(name)),
            "messages": [
                {"lane": lane} | of_state(f"{name} {number}", state).as_json()
                for number, (lane, state) in enumerate(steps)
            ],
            "result": {"row": row_of(fold([state for _, state in steps])[0])},
        }
        for name, steps in _sequences()
    ]


def _sequences() -> Iterator[tuple[str, Sequence[_Step]]]:
    name = "versions in order"
    yield name, _live(_v(name, 1), _v(name, 2), _v(name, 3))
    name = "a duplicate"
    yield name, _live(_v(name, 1), _v(name, 1), _v(name, 2), _v(name, 2))
    name = "an older version after a newer one"
    yield name, _live(_v(name, 3), _v(name, 1), _v(name, 2))
    name = "a deletion"
    yield name, _live(_v(name, 1), a_tombstone(name, 2))
    name = "a deletion of an unknown user"
    yield name, _live(a_tombstone(name, 2))
    name = "a newer version after the deletion does not revive"
    yield name, _live(_v(name, 1), a_tombstone(name, 2), _v(name, 9))
    name = "a deletion with a lower version than the state"
    yield name, _live(_v(name, 9), a_tombstone(name, 2))
    name = "the newer of two tombstones"
    yield name, _live(a_tombstone(name, 2), a_tombstone(name, 4), a_tombstone(name, 3))
    name = "a replay of older versions"
    yield name, [*_live(_v(name, 4)), *(("replay", _v(name, version)) for version in (1, 2, 3))]
    name = "a replay fills what was missed"
    yield name, [("replay", _v(name, 1)), ("replay", _v(name, 2))]
    name = "a replay does not revive"
    yield name, [*_live(a_tombstone(name, 3)), ("replay", _v(name, 1)), ("replay", _v(name, 2))]
    name = "an urgent copy and the event itself"
    yield name, [*_live(_v(name, 1), a_tombstone(name, 2)), ("urgent", a_tombstone(name, 2))]
    for order in permutations(range(4)):
        name = f"any order: {order}"
        states = [_v(name, 1), _v(name, 2), a_tombstone(name, 3), _v(name, 4)]
        yield name, _live(*(states[index] for index in order))


def _live(*states: State) -> list[_Step]:
    return [("live", state) for state in states]


def _v(user: str, version: int) -> State:
    """A state whose fields tell its version."""
    return a_state(user, version, email=f"v{version}@example.org", roles=(f"role{version}",))
