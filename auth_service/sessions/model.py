"""What a session is, how long it lasts, and what a refresh token is worth. Pure."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import islice
from typing import Final, Self
from uuid import UUID, uuid4

USER_AGENT_LENGTH_MAX: Final = 256
"""Browsers send about half of it; it is only shown to the user, to know his devices by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long sessions last, and how many a user has.

    Parameters:
        idle: since the last refresh, after which a session is over.
        absolute: since the sign-in, after which it is over in any case (OWASP ASVS 7.3).
        grace: since a refresh, within which a repetition of it gets the same successor.
        per_user: live sessions of one user.
    """

    idle: timedelta
    absolute: timedelta
    grace: timedelta
    per_user: int


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session about to start."""

    user_agent: str | None = None
    id: UUID = field(default_factory=uuid4)

    @classmethod
    def on(cls, user_agent: str | None) -> Self:
        """On the device that calls itself that; what cannot be shown of the name is dropped."""
        shown = islice(filter(str.isprintable, user_agent or ""), USER_AGENT_LENGTH_MAX)
        return cls("".join(shown).strip() or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session as it stands in the table.

    ``counter`` is the one of the refresh token that is to be used next.
    """

    id: UUID
    user_id: UUID
    counter: int
    created_at: datetime
    refreshed_at: datetime
    ended_at: datetime | None
    user_agent: str | None

    def expires_at(self, limits: Limits) -> datetime:
        """When it is over unless it is refreshed, or ended, before."""
        return min(self.refreshed_at + limits.idle, self.created_at + limits.absolute)


class Verdict(Enum):
    """What a refresh token is worth."""

    NEXT = auto()
    """It is the one to be used next: its successor takes its place."""
    REPEATED = auto()
    """It was used just now: the same successor again, for the first answer may be lost."""
    REUSED = auto()
    """It was used before, by someone else than whoever shows it now: one of them is a thief."""
    OVER = auto()
    """Its session has ended."""


def judge(session: Session, counter: int, *, now: datetime, limits: Limits) -> Verdict:
    """What the token with this counter is worth in its session."""
    if session.ended_at is not None or now >= session.expires_at(limits):
        return Verdict.OVER
    if counter == session.counter:
        return Verdict.NEXT
    # A refresh that finished while this one waited for the row may lie ahead of its clock, by less
    # than the grace; one that lies further ahead was made before the clock was set back.
    since = abs(now - session.refreshed_at)
    if counter == session.counter - 1 and since < limits.grace:
        return Verdict.REPEATED
    return Verdict.REUSED
