"""The queue of mails: which one is due, and what became of it.

Guarantees: a mail is claimed by one sender at a time, and comes back by itself when that one is
killed; no lock outlives the statement that takes it.
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
from service_kit.process.backoff import pause_seconds
from service_kit.process.clock import AHEAD_SECONDS_MAX

CLAIM_SECONDS: Final = 2 * SENDING_SECONDS_MAX
"""How long a claimed mail is left to its sender: longer than he may take to send it."""

ATTEMPTS_MAX: Final = 20
"""About three hours: whoever has no mail by then has asked for another or given up."""

FIRST_PAUSE_SECONDS: Final = 2.0
"""A server that restarts is back in seconds."""

PAUSE_SECONDS_MAX: Final = 900.0
"""People look for a mail every few minutes, as long as they look for it at all."""


# No pause is longer: the clock was set back.
_IS_DUE: Final = or_(
    mails.c.next_try_at <= func.now(),
    mails.c.next_try_at
    > func.now() + timedelta(seconds=max(PAUSE_SECONDS_MAX, CLAIM_SECONDS) + AHEAD_SECONDS_MAX),
)


@dataclass(frozen=True, slots=True)
class ClaimedMail:
    """A mail to be sent now, for the ``attempts``-th time.

    Parameters:
        former_email_id: the former address that it goes to, in place of the present one.
        networks: keyed hashes of the networks that caused it.
        charged_to: keyed hash of the address whose limit it was spent from, if it was.
    """

    id: int
    user_id: UUID
    purpose: Purpose
    attempts: int
    former_email_id: int | None = None
    networks: tuple[str, ...] = ()
    charged_to: bytes | None = None


async def claim_due_mails(connection: AsyncConnection, limit: int) -> list[ClaimedMail]:
    """Up to ``limit`` mails that are due, the longest waiting first; the caller commits at once."""
    due = (
        select(mails.c.id)
        # Purposes of a later version, during an upgrade, are left to it.
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
    """Remember from whose limit the mail was spent, so that no further attempt spends again."""
    await connection.execute(
        update(mails).where(mails.c.id == mail.id).values(charged_to=charged_to)
    )


async def requeue(connection: AsyncConnection, mail: ClaimedMail) -> None:
    """Have the mail tried again, the later the more often it was."""
    pause = pause_seconds(mail.attempts, longest=PAUSE_SECONDS_MAX, shortest=FIRST_PAUSE_SECONDS)
    again_at = func.now() + timedelta(seconds=pause)
    await connection.execute(
        update(mails).where(mails.c.id == mail.id).values(next_try_at=again_at)
    )


async def remove(connection: AsyncConnection, mail: ClaimedMail) -> None:
    """Have the mail never tried again."""
    await connection.execute(delete(mails).where(mails.c.id == mail.id))


async def count_queued(connection: AsyncConnection) -> int:
    """How many mails there are in the queue."""
    count = await connection.scalar(select(func.count()).select_from(mails))
    return count or 0
