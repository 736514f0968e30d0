"""Rows with their canonical forms and digests, and the digests of a table that has all of them.

Computed by ``contracts.sync.digest``, whose docstring defines both. A replica with all fields needs
the digests of states, one with fewer those of versions.
"""

from typing import Any

from contracts.conformance.messages import NOON, a_state, a_tombstone, row_of
from contracts.sync.digest import Digests, bucket_of, canonical_form, row_digest, version_digest
from contracts.sync.merge import State


def table() -> dict[str, Any]:
    """The rows, and the digests of their table."""
    states: list[State] = [
        a_state("plain", 1),
        a_state("all fields", 2**53 - 1, email="zoë@bücher.example", email_verified=True,
                roles=("b", "a", "b", "ä"), status="disabled", tokens_valid_after=NOON,
                updated_at=NOON.replace(microsecond=123456)),
        a_state("before 2000", 2, created_at=NOON.replace(year=1999)),
        a_tombstone("deleted", 3),
        *(a_state(f"one of many {number}", 4) for number in range(20)),
    ]  # fmt: skip
    whole = Digests.of_states(states)
    return {
        "rows": [_row(state) for state in states],
        "users": whole.users,
        "tombstones": whole.tombstones,
        "root": whole.root,
        "versions_root": whole.versions_root,
    }


def _row(state: State) -> dict[str, Any]:
    row = row_of(state)
    of_version = version_digest(state.id, state.version, is_deleted=row["deleted_at"] is not None)
    return {
        "row": row,
        "canonical_form": canonical_form(state).hex(),
        "digest": row_digest(state).hex(),
        "version_digest": of_version.hex(),
        "bucket": bucket_of(state.id),
    }
