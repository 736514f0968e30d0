"""What a replay selects, as SQL.

Guarantees: of an erased user's events the last one that is selected stands for his tombstone, and
the others for nothing; where that last one is his deletion, it stands for itself. So what was
counted beforehand is what is sent, however it is split into batches.
"""

from typing import Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    FromClause,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    exists,
    literal,
    true,
)

from auth_service.outbox.table import outbox_events
from auth_service.replays.model import Selection
from auth_service.users.table import users
from contracts.events import UserDeleted
from contracts.sync.replays import TYPES

Condition = ColumnElement[bool]

LAST: Final = bindparam("last_position", type_=BigInteger)
"""The position up to which events are selected."""

IS_ERASED: Final[Condition] = and_(
    outbox_events.c.payload.is_(None), outbox_events.c.type != UserDeleted.type
)
"""Nothing is left of the event but whose it was."""

_later = outbox_events.alias("later")


def recorded(selection: Selection, log: FromClause = outbox_events) -> Condition:
    """Whether an event of the log is selected."""
    conditions: list[Condition] = [
        log.c.type.in_(selection.types or TYPES),
        log.c.position <= LAST,
    ]
    if selection.from_position is not None:
        conditions.append(log.c.position >= selection.from_position)
    if selection.since is not None:
        conditions.append(log.c.occurred_at >= selection.since)
    if selection.until is not None:
        conditions.append(log.c.occurred_at < selection.until)
    if selection.users:
        conditions.append(_one_of(log.c.user_id, selection))
    return and_(*conditions)


def stands(selection: Selection) -> Condition:
    """Whether a selected event is sent, if only as its user's tombstone."""
    another = exists().where(
        _later.c.user_id == outbox_events.c.user_id,
        _later.c.position > outbox_events.c.position,
        recorded(selection, _later),
    )
    return case((IS_ERASED, ~another), else_=true())


def deletion_is_selected(selection: Selection) -> Condition:
    """Whether the deletion of an event's user is among what is selected."""
    return exists().where(
        _later.c.user_id == outbox_events.c.user_id,
        _later.c.type == literal(UserDeleted.type),
        recorded(selection, _later),
    )


def of_users(selection: Selection) -> Condition:
    """Whether a user is selected."""
    return _one_of(users.c.id, selection) if selection.users else true()


def _one_of(column: ColumnElement[object], selection: Selection) -> Condition:
    ids = literal(list(selection.users), ARRAY(Uuid))
    return column == any_(ids)
