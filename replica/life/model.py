"""Put both rows of a user side by side, and say what a request of theirs would get. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from contracts.events import UserState, UserTombstone
from replica.columns import FIELDS
from replica.parked.model import ParkedMessage
from replica.reconcile.kinds import Difference, Row, difference, unknown
from replica.refusals import Refusal, refusal

OF_A_TOMBSTONE: Final = ("id", "version", "status", "deleted_at")
"""Fields that are shown, and compared, of a user who is deleted on either side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What this service has of a user.

    Parameters:
        row: all replicated columns; None if there is no row.
        applied_at: when the row was last written; None if the table does not say.
        parked: the newest of their parked messages.
        waiting: how many of their messages wait by themselves.
    """

    row: Mapping[str, Any] | None
    applied_at: datetime | None
    parked: Sequence[ParkedMessage]
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AtSource:
    """What the source has of a user; ``is_unpublished`` if one of their events is not published."""

    state: UserState | UserTombstone | None
    is_unpublished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BothSides:
    """One field of a user on both sides; ``is_equal`` is None if the source was not asked."""

    field: str
    source: Any
    replica: Any
    is_equal: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One user, in both services.

    Parameters:
        unasked: why there is nothing of the source; None if it responded.
        source: what the source has; None if it did not respond.
        here: what this service has, read after the source.
        fields: the replicated fields of both.
        differs: how the rows differ; None if they do not, or the source did not respond.
        refused: why a request with a token that is issued now would be refused; None if it would
            be served, or if this replica has no status to decide by.
        decides: whether this replica has what decides about requests.
    """

    unasked: str | None
    source: AtSource | None
    here: Here
    fields: Sequence[BothSides]
    differs: Difference | None
    refused: Refusal | None
    decides: bool

    @property
    def is_unknown(self) -> bool:
        """Whether neither side knows the user, as far as the source has said so."""
        is_there = self.source is None or self.source.state is not None
        is_here = self.here.row is not None or self.here.parked or self.here.waiting
        return not (is_there or is_here)


def life_of(
    columns: Sequence[str],
    before: Mapping[str, Any] | None,
    source: AtSource | str,
    here: Here,
    *,
    now: datetime,
) -> Life:
    """Combine what three looks at a user have found.

    Parameters:
        columns: the replicated columns of this service's table.
        before: its row before the source was asked.
        source: what the source has, or a sentence that says why it was not asked.
        here: what this service has after that.
        now: when a token would be issued.
    """
    asked = source if isinstance(source, AtSource) else None
    theirs = None if asked is None else _row_of(asked.state)
    fields = side_by_side(columns, theirs, here.row, is_asked=asked is not None)
    row, decides = here.row, "status" in columns
    return Life(
        unasked=None if isinstance(source, AtSource) else source,
        source=asked,
        here=here,
        fields=fields,
        differs=None if asked is None else _differs(asked, before, row, fields),
        # Without a row, a valid token gets a provisional one, which is served.
        refused=refusal(row["status"], row.get("tokens_valid_after"), issued_at=now.timestamp())
        if decides and row is not None
        else None,
        decides=decides,
    )


def side_by_side(
    columns: Iterable[str],
    source: Mapping[str, Any] | None,
    replica: Mapping[str, Any] | None,
    *,
    is_asked: bool,
) -> list[BothSides]:
    """Each column of both rows; nothing personal if one of them is a tombstone.

    Parameters:
        columns: the replicated columns.
        source: the source's row, with all fields; None if it has none.
        replica: this service's row; None if it has none.
        is_asked: whether the source has said what it has.
    """
    rows = [row for row in (source, replica) if row is not None]
    is_any_deleted = any(row["deleted_at"] is not None for row in rows)
    names = [name for name in columns if not is_any_deleted or name in OF_A_TOMBSTONE]
    if not rows:
        return []
    both = [(name, _value(source, name), _value(replica, name)) for name in names]
    return [
        BothSides(
            field=name, source=one, replica=other, is_equal=one == other if is_asked else None
        )
        for name, one, other in both
    ]


def _value(row: Mapping[str, Any] | None, name: str) -> Any:
    if row is None:
        return None
    return sorted(set(row[name])) if name == "roles" else row[name]


def _row_of(state: UserState | UserTombstone | None) -> Mapping[str, Any] | None:
    """A row with all fields; those that a state of its kind does not have are empty."""
    if state is None:
        return None
    given = vars(state)
    missing = FIELDS if isinstance(state, UserTombstone) else ("deleted_at",)
    return {name: FIELDS[name].cleared for name in missing} | given


def _differs(
    source: AtSource,
    before: Mapping[str, Any] | None,
    now: Mapping[str, Any] | None,
    fields: Sequence[BothSides],
) -> Difference | None:
    if source.state is None:
        return unknown(_rank(before), _rank(now))
    return difference(
        Row(source.state.version, isinstance(source.state, UserTombstone)),
        _rank(before),
        _rank(now),
        is_equal=all(each.is_equal for each in fields),
        is_unpublished=source.is_unpublished,
    )


def _rank(row: Mapping[str, Any] | None) -> Row | None:
    return None if row is None else Row(row["version"], row["deleted_at"] is not None)
