"""Decide how a user differs, and whether a row may be repaired, from both sides' rows. Pure.

This states what ``classify_and_repair`` and ``orphans`` decide in SQL, a batch of users at a time.
``tests/integration/test_kinds_in_postgresql.py`` compares the two for every combination of rows,
and the model of the protocol (``tests/model``) runs this code.

Three looks at a user decide, in this order: ``before`` is the replica's row before the source was
asked, ``source`` is the source's response, ``now`` is the replica's row when it is classified. None
is an absent row. Nothing reaches a replica before it is committed at the source. So the replica had
something that the source never had only if ``before`` shows it too; otherwise it arrived meanwhile.

Not here: the repairs (``replica.table``), the guard *newer* (``contracts.sync.merge``), and which
kinds are repaired (``model``).
"""

from typing import Final, Literal, NamedTuple, TypeAlias

from replica.reconcile.model import NEWER, Kind

IN_FLIGHT: Final = "in_flight"
"""The difference is an event on its way, or the user changed during the comparison."""

Difference: TypeAlias = Kind | Literal["in_flight"]


class Row(NamedTuple):
    """What decides the kind: a provisional row has version 0."""

    version: int
    is_deleted: bool


def difference(
    source: Row, before: Row | None, now: Row | None, *, is_equal: bool, is_unpublished: bool
) -> Difference | None:
    """Classify a user that the source knows; None if nothing differs.

    Parameters:
        source: the source's row.
        before: the replica's row before the source was asked.
        now: the replica's row at this moment.
        is_equal: whether ``source`` and ``now`` agree in all replicated fields. Only a replica that
            has all fields can tell; in others a version determines the content.
        is_unpublished: whether an event of the user was not published when the source responded.
    """
    kind = _difference(source, before, now, is_equal=is_equal)
    return IN_FLIGHT if is_unpublished and kind in NEWER else kind


def _difference(
    source: Row, before: Row | None, now: Row | None, *, is_equal: bool
) -> Difference | None:
    if now is None:
        return Kind.MISSING
    if now.is_deleted and not source.is_deleted:
        return Kind.UNDONE_DELETION if before is not None and before.is_deleted else IN_FLIGHT
    if source.is_deleted and not now.is_deleted:
        return Kind.UNDELETED
    if now.version == 0:
        return Kind.MISSING
    if now.version < source.version:
        return Kind.STALE
    if now.version > source.version:
        return Kind.AHEAD if before is not None and before.version == now.version else IN_FLIGHT
    return None if is_equal else Kind.CORRUPT


def unknown(before: Row | None, now: Row | None) -> Difference | None:
    """Classify a user that the source does not know; None if nothing differs.

    A tombstone agrees with a source that does not know the id. A row that is gone, or that was not
    there before the source was asked, is left to the next comparison.
    """
    if before is None or before.is_deleted or now is None or now.is_deleted:
        return None
    if before.version != now.version:
        return IN_FLIGHT
    return Kind.ORPHAN if now.version else Kind.PROVISIONAL_ORPHAN


def is_as_compared(now: Row | None, compared: Row, coming: Row) -> bool:
    """Whether the guard *as compared* lets a repair write ``coming``: the row has not moved.

    Parameters:
        now: the replica's row at the moment of the write.
        compared: the row that was compared with the source.
        coming: the source's row; for an orphan, which has none, ``compared`` again.
    """
    return (
        now is not None and now.version == compared.version and now.is_deleted == coming.is_deleted
    )
