"""The queue of mails: claim those that are due, then requeue or remove them.

Guarantees: a mail is claimed by one sender at a time, and becomes due again if that sender is
killed. No lock outlives the statement that takes it.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.mail.letters import Purpose
from auth_service.mail.table import mails
from auth_service.mail.transport import SENDING_SECONDS_MAX
from service_kit.process.backoff import backoff_seconds
from service_kit.process.clock import AHEAD_SECONDS_MAX

CLAIM_SECONDS: Final = 2 * SENDING_SECONDS_MAX
"""How long a sender has for a claimed mail: longer than sending it may take."""

ATTEMPTS_MAX: Final = 20
"""About three hours; by then the reader has requested another mail, or given up."""

FIRST_PAUSE_SECONDS: Final = 2.0
"""A server that restarts is back within seconds."""

PAUSE_SECONDS_MAX: Final = 900.0
"""People who wait for a mail check every few minutes."""


# A time further ahead than any pause was set before the clock was set back.
_IS_DUE: Final = or_(
    mails.c.next_try_at <= func.now(),
    mails.c.next_try_at
    > func.now() + timedelta(seconds=max(PAUSE_SECONDS_MAX, CLAIM_SECONDS) + AHEAD_SECONDS_MAX),
)


@dataclass(frozen=True, slots=True)
class ClaimedMail:
    """A mail to be sent now, for the ``attempts``-th time.

    Parameters:
        former_email_id: the former address that it goes to; None: the present one.
        networks: keyed hashes of the networks that caused it.
        charged_to: keyed hash of the address whose limit was charged, if one was.
    """

    id: int
    user_id: UUID
    purpose: Purpose
    attempts: int
    former_email_id: int | None = None
    networks: tuple[str, ...] = ()
    charged_to: bytes | None = None


async def claim_due_mails(connection: AsyncConnection, limit: int) -> list[ClaimedMail]:
    """Claim up to ``limit`` due mails, longest waiting first; the caller commits at once."""
    due = (
        select(mails.c.id)
        # During an upgrade, mails with purposes of a later release are left to it.
        .where(_IS_DUE, mails.c.purpose.in_(list(Purpose)))
        .order_by(mails.c.next_try_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claimed = await connection.execute(
        update(mails)
        .where(mails.c.id.in_(select(due.c.id)))
        .values(
            attempts=mails.c.attempts + 1,
            next_try_at=func.now() + timedelta(seconds=CLAIM_SECONDS),
        )
        .returning(mails)
    )
    return [
        ClaimedMail(
            row.id,
            row.user_id,
            Purpose(row.purpose),
            row.attempts,
            row.former_email_id,
            tuple(row.networks),
            row.charged_to,
        )
        for row in claimed
    ]


async def save_charge(connection: AsyncConnection, mail: ClaimedMail, charged_to: bytes) -> None:
    """Store whose limit was charged, so that no later attempt charges it again."""
    await connection.execute(
        update(mails).where(mails.c.id == mail.id).values(charged_to=charged_to)
    )


async def requeue(connection: AsyncConnection, mail: ClaimedMail) -> None:
    """Schedule another attempt; the pause grows with the number of attempts."""
    pause = backoff_seconds(mail.attempts, longest=PAUSE_SECONDS_MAX, shortest=FIRST_PAUSE_SECONDS)
    again_at = func.now() + timedelta(seconds=pause)
    await connection.execute(
        update(mails).where(mails.c.id == mail.id).values(next_try_at=again_at)
    )


async def remove(connection: AsyncConnection, mail: ClaimedMail) -> None:
    """Delete the mail from the queue."""
    await connection.execute(delete(mails).where(mails.c.id == mail.id))


async def count_queued(connection: AsyncConnection) -> int:
    """Count the mails in the queue."""
    count = await connection.scalar(select(func.count()).select_from(mails))
    return count or 0
