"""Start a session by the same statement that checks whether its user may have one.

Guarantees: no session starts after its user was disabled or deleted, or after their password
differs from the one that was checked. Both sides lock the user's row, so the later one sees the
earlier one's change. A user never has more live sessions than the limit, nor more rows of ended
ones.
"""

from datetime import datetime
from functools import cache
from typing import Final
from uuid import UUID

from sqlalchemy import (
    CTE,
    Select,
    Text,
    Uuid,
    bindparam,
    delete,
    func,
    insert,
    not_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.sessions.end import EndReason
from auth_service.sessions.model import Limits, NewSession
from auth_service.sessions.queries import is_live
from auth_service.sessions.table import sessions
from auth_service.users.model import User
from auth_service.users.table import to_user, users
from service_kit.database.statements import Statement
from service_kit.database.transactions import Transaction


def starting_session(user: CTE) -> Select[tuple[object, ...]]:
    """Build a query that returns the one user in ``user`` and starts a session for them.

    Its parameters are ``session_parameters``. Its column ``at`` is when the user was known to be
    entitled to a token, by PostgreSQL's clock.
    """
    begun = insert(sessions).from_select(
        ["id", "user_id", "user_agent"],
        select(
            bindparam("session_id", type_=Uuid),
            user.c.id,
            bindparam("session_user_agent", type_=Text),
        ),
    )
    return select(user, func.clock_timestamp().label("at")).add_cte(begun.cte("begun"))


def session_parameters(session: NewSession) -> dict[str, object]:
    """The parameters of ``starting_session``."""
    return {"session_id": session.id, "session_user_agent": session.user_agent}


_START: Final = Statement(
    starting_session(
        select(users)
        .where(
            users.c.id == bindparam("starting_user_id", type_=Uuid),
            users.c.status == "active",
            users.c.password_hash == bindparam("verified_hash", type_=Text),
        )
        # Excludes changes of the row, but not the check of the session's foreign key.
        .with_for_update(key_share=True)
        .cte("starting_user")
    )
)


async def start_session(
    connection: AsyncConnection | Transaction,
    user_id: UUID,
    password_hash: str,
    session: NewSession,
    limits: Limits,
) -> tuple[User, datetime] | None:
    """Start ``session``, and end the longest idle one if there are too many; the caller commits.

    Parameters:
        password_hash: the stored hash that the user's password matched.

    Returns:
        The user, whose row stays locked until the transaction ends, and the time as of which they
        may have an access token. None, and no session, if the user is not active or their password
        was changed in the meantime.
    """
    values = {
        "starting_user_id": user_id,
        "verified_hash": password_hash,
        **session_parameters(session),
    }
    row = next(iter(await _START.on(connection, values)), None)
    if row is None:
        return None
    # A statement of its own: it sees the sessions that started while the first one waited.
    await _make_room(limits).on(connection, {"room_user_id": user_id, "new_session_id": session.id})
    return to_user(row), row["at"]


@cache
def _make_room(limits: Limits) -> Statement:
    """End a user's sessions above the limit, and delete ended ones above the same number.

    Its parameters are ``room_user_id`` and ``new_session_id``, which stays.
    """
    own = sessions.c.user_id == bindparam("room_user_id", type_=Uuid)
    live, newest_first = is_live(limits), sessions.c.refreshed_at.desc()
    is_other = sessions.c.id != bindparam("new_session_id", type_=Uuid)
    others = select(sessions.c.id).where(own, live, is_other)
    over = select(sessions.c.id).where(own, not_(live))
    outdated = delete(sessions).where(
        sessions.c.id.in_(over.order_by(newest_first).offset(limits.per_user))
    )
    return Statement(
        update(sessions)
        .where(sessions.c.id.in_(others.order_by(newest_first).offset(limits.per_user - 1)))
        .values(ended_at=func.now(), end_reason=EndReason.TOO_MANY)
        .add_cte(outdated.cte("outdated"))
    )
