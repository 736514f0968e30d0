"""Export what this service knows of a user (GDPR Articles 15 and 20).

Guarantees: no secret is in it: no hash, no token, nothing that signs in. Nothing of other people is
in it either: of an entry of the audit log, it says whether the user themselves acted.

Not here: what other services know; each exports its own part.
"""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, case, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.audit.table import audit_log
from auth_service.outbox.table import outbox_events
from auth_service.sessions.table import sessions
from auth_service.users.model import NoSuchUser
from auth_service.users.passwords import Passwords
from auth_service.users.table import former_emails, users
from auth_service.users.transaction import verify_password
from service_kit.database.streaming import streamed
from service_kit.process.actors import user_actor
from service_kit.process.archive import Archive

FOLDER: Final = "auth"

_README: Final = """\
What the auth service knows of you.

account.json   your account as it is now: id, address, roles, status, times. pending_email is an
               address that waits for its link to be opened; former_emails are addresses that you
               can still go back to.
sessions.json  each time you signed in: when, with which program, and how it ended
events.json    what was sent to the other services about you, with all earlier states
audit.json     what was done to your account: when, and whether by you

Not in it: your password, of which only a hash is stored, and keyed hashes of networks from which
you signed in, which are removed after 90 days. Times are UTC (RFC 3339).
"""

_ACCOUNT: Final = (
    users.c.id,
    users.c.email,
    users.c.email_verified,
    users.c.roles,
    users.c.status,
    users.c.version,
    users.c.tokens_valid_after,
    users.c.created_at,
    users.c.updated_at,
    users.c.pending_email,
    users.c.pending_email_until,
)


async def export_user(connection: AsyncConnection, user_id: UUID, archive: Archive) -> None:
    """Write everything about a living user.

    Raises:
        NoSuchUser: there is none with this id.
    """
    query = select(*_ACCOUNT).where(users.c.id == user_id, users.c.status != "deleted")
    account = (await connection.execute(query)).mappings().one_or_none()
    if account is None:
        raise NoSuchUser
    former = select(former_emails.c.email, former_emails.c.until).where(
        former_emails.c.user_id == user_id
    )
    addresses = [dict(row) for row in (await connection.execute(former)).mappings()]
    archive.add_readme(_README)
    archive.add("account", {**account, "former_emails": addresses})
    await archive.add_rows("sessions", streamed(connection, _sessions(user_id)))
    await archive.add_rows("events", streamed(connection, _events(user_id)))
    await archive.add_rows("audit", streamed(connection, _audit(user_id)))


def _sessions(user_id: UUID) -> Select[Any]:
    return (
        select(
            sessions.c.id,
            sessions.c.created_at,
            sessions.c.refreshed_at,
            sessions.c.ended_at,
            sessions.c.end_reason,
            sessions.c.user_agent,
        )
        .where(sessions.c.user_id == user_id)
        .order_by(sessions.c.created_at)
    )


def _events(user_id: UUID) -> Select[Any]:
    return (
        select(
            outbox_events.c.event_id,
            outbox_events.c.type,
            outbox_events.c.version,
            outbox_events.c.occurred_at,
            outbox_events.c.payload.label("data"),
        )
        .where(outbox_events.c.user_id == user_id)
        .order_by(outbox_events.c.position)
    )


def _audit(user_id: UUID) -> Select[Any]:
    by = case((audit_log.c.actor == user_actor(user_id), "you"), else_="others")
    return (
        select(
            audit_log.c.occurred_at,
            audit_log.c.action,
            by.label("by"),
            audit_log.c.details,
        )
        .where(audit_log.c.subject == str(user_id))
        .order_by(audit_log.c.id)
    )


async def export_own(
    engine: AsyncEngine, passwords: Passwords, user_id: UUID, archive: Archive, *, password: str
) -> None:
    """Write everything about a user who asks for it; the password confirms it.

    Raises:
        WrongPassword: the password is not theirs.
        NoSuchUser: they were deleted meanwhile.
        HashingBusy: too many passwords wait to be checked.
    """
    await verify_password(engine, passwords, user_id, password)
    await export_by(engine, user_id, archive, actor=user_actor(user_id))


async def export_by(engine: AsyncEngine, user_id: UUID, archive: Archive, *, actor: str) -> None:
    """Write everything about a user, and record in the audit log who asked for it.

    Raises:
        NoSuchUser: there is none with this id.
    """
    async with engine.begin() as connection:
        await export_user(connection, user_id, archive)
        await audit(connection, Action.USER_EXPORTED, actor=actor, subject=user_id)
