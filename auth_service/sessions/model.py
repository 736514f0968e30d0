"""A session, how long it lasts, and the verdict on a refresh token. Pure."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import islice
from typing import Final, Self
from uuid import UUID, uuid4

USER_AGENT_LENGTH_MAX: Final = 256
"""Browsers send about half of it; it only helps users to recognise their devices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long sessions last, and how many a user has.

    Parameters:
        idle: a session expires this long after its last refresh.
        absolute: a session expires this long after its sign-in in any case (OWASP ASVS 7.3).
        grace: a refresh repeated within this time gets the same successor.
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
        """Create a session for the device with this User-Agent, without unprintable characters."""
        shown = islice(filter(str.isprintable, user_agent or ""), USER_AGENT_LENGTH_MAX)
        return cls("".join(shown).strip() or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session as stored.

    ``counter`` is that of the refresh token to be used next; ``authenticated_at``, when the
    password was last given in it.
    """

    id: UUID
    user_id: UUID
    counter: int
    created_at: datetime
    refreshed_at: datetime
    ended_at: datetime | None
    authenticated_at: datetime
    user_agent: str | None

    def expires_at(self, limits: Limits) -> datetime:
        """When it expires, unless it is refreshed or ended before."""
        return min(self.refreshed_at + limits.idle, self.created_at + limits.absolute)


class Verdict(Enum):
    """The verdict on a refresh token."""

    NEXT = auto()
    """It is the next one to be used: its successor replaces it."""
    REPEATED = auto()
    """It was used just now: it gets the same successor, for the first response may be lost."""
    REUSED = auto()
    """It was used earlier: two parties have it, and one of them stole it."""
    OVER = auto()
    """Its session has ended or expired."""


def judge(session: Session, counter: int, *, now: datetime, limits: Limits) -> Verdict:
    """Judge the refresh token with this counter in its session."""
    if session.ended_at is not None or now >= session.expires_at(limits):
        return Verdict.OVER
    if counter == session.counter:
        return Verdict.NEXT
    # A refresh that finished while this one waited for the row may be ahead of its clock, by less
    # than the grace period. One further ahead was made before the clock was set back.
    since = abs(now - session.refreshed_at)
    if counter == session.counter - 1 and since < limits.grace:
        return Verdict.REPEATED
    return Verdict.REUSED
