"""Build SQL conditions from a replay's selection.

Guarantees: of an erased user's selected events, only the last one is sent, as the user's tombstone;
if it is the deletion, it is sent as itself. So the count made before the start equals what is sent,
however the replay is split into batches.
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
from contracts.sync.replay_limits import TYPES

Condition = ColumnElement[bool]

LAST: Final = bindparam("last_position", type_=BigInteger)
"""The last position of the selection."""

IS_ERASED: Final[Condition] = and_(
    outbox_events.c.payload.is_(None), outbox_events.c.type != UserDeleted.type
)
"""The event's payload has been erased; only its user is left."""

_later = outbox_events.alias("later")


def recorded(selection: Selection, log: FromClause = outbox_events) -> Condition:
    """Build the condition that an event of the log is selected."""
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


def is_sent(selection: Selection) -> Condition:
    """Build the condition that a selected event is sent, if only as its user's tombstone."""
    another = exists().where(
        _later.c.user_id == outbox_events.c.user_id,
        _later.c.position > outbox_events.c.position,
        recorded(selection, _later),
    )
    return case((IS_ERASED, ~another), else_=true())


def deletion_is_selected(selection: Selection) -> Condition:
    """Build the condition that the deletion of an event's user is selected too."""
    return exists().where(
        _later.c.user_id == outbox_events.c.user_id,
        _later.c.type == literal(UserDeleted.type),
        recorded(selection, _later),
    )


def of_users(selection: Selection) -> Condition:
    """Build the condition that a user is selected."""
    return _one_of(users.c.id, selection) if selection.users else true()


def _one_of(column: ColumnElement[object], selection: Selection) -> Condition:
    ids = literal(list(selection.users), ARRAY(Uuid))
    return column == any_(ids)
