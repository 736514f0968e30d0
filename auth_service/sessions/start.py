"""Start a session, by the same statement that looks whether its user may have one.

Guarantees: no session comes to life after its user was disabled or deleted, or got another
password than the one that was checked: whichever of the two comes first, the other sees it, for
both take the lock of his row. A user never has more live sessions than the limit, nor more rows of
ended ones.
"""

from datetime import datetime
from uuid import UUID

import structlog
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
from auth_service.users.token_validity import reset_future_validity

log = structlog.get_logger()


def starting_session(holder: CTE) -> Select[tuple[object, ...]]:
    """A query of all that ``holder`` has, which starts a session for the one user in it.

    To be built once, since building it takes longer than running it; ``values_of`` has its
    parameters. ``at`` is the time, by PostgreSQL's clock, as of which he may have an access token.
    """
    begun = insert(sessions).from_select(
        ["id", "user_id", "user_agent"],
        select(
            bindparam("session_id", type_=Uuid),
            holder.c.id,
            bindparam("session_user_agent", type_=Text),
        ),
    )
    return select(holder, func.clock_timestamp().label("at")).add_cte(begun.cte("begun"))


def session_parameters(session: NewSession) -> dict[str, object]:
    """The parameters of ``with_session``."""
    return {"session_id": session.id, "session_user_agent": session.user_agent}


_START = starting_session(
    select(users)
    .where(
        users.c.id == bindparam("holder_id", type_=Uuid),
        users.c.status == "active",
        users.c.password_hash == bindparam("holder_hash"),
    )
    # As strong as a change of the row; the session's foreign key is not kept waiting by it.
    .with_for_update(key_share=True)
    .cte("holder")
)


async def start_session(
    connection: AsyncConnection,
    user_id: UUID,
    password_hash: str,
    session: NewSession,
    limits: Limits,
) -> tuple[User, datetime] | None:
    """Start ``session``, and end the one that was idle the longest if there are too many.

    Parameters:
        password_hash: that of the password by which the user was recognised.

    Returns:
        The user as he is now, his row locked until the transaction ends, and the time as of which
        he may have an access token; None, and no session, when he is not active or his password is
        another by now.
    """
    values = {"holder_id": user_id, "holder_hash": password_hash, **session_parameters(session)}
    row = (await connection.execute(_START, values)).one_or_none()
    if row is None:
        return None
    await _make_room(connection, user_id, session, limits)
    return await reset_future_validity(connection, to_user(row), at=row.at), row.at


async def _make_room(
    connection: AsyncConnection, user_id: UUID, session: NewSession, limits: Limits
) -> None:
    """End what is above the limit, and forget what ended before as many others."""
    own, live = sessions.c.user_id == user_id, is_live(limits)
    newest_first = sessions.c.refreshed_at.desc()
    others = select(sessions.c.id).where(own, live, sessions.c.id != session.id)
    over = select(sessions.c.id).where(own, not_(live))
    forgotten = delete(sessions).where(
        sessions.c.id.in_(over.order_by(newest_first).offset(limits.per_user))
    )
    await connection.execute(
        update(sessions)
        .where(sessions.c.id.in_(others.order_by(newest_first).offset(limits.per_user - 1)))
        .values(ended_at=func.now(), end_reason=EndReason.TOO_MANY)
        .add_cte(forgotten.cte("forgotten"))
    )
