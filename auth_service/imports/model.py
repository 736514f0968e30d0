"""Decide what becomes of a line of an export, and count. Pure.

A user is the same if they have the id that the line leads to, and its address; or, if the line has
no id, if an account has its address. What was imported once is never changed: it is theirs since.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from auth_service.users.add_many import NewUser, Present


class Outcome(StrEnum):
    """What becomes of a line."""

    NEW = "new"
    SAME = "same"
    CONFLICTING = "conflicting"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a line, and its reason if the user is neither new nor the same.

    No reason has an e-mail address or another value of the line.
    """

    outcome: Outcome
    reason: str | None = None


NEW: Final = Verdict(Outcome.NEW)
SAME: Final = Verdict(Outcome.SAME)
DELETED: Final = Verdict(Outcome.CONFLICTING, "the user with this id was deleted here")
OTHER_ADDRESS: Final = Verdict(
    Outcome.CONFLICTING, "the user with this id has another e-mail address here"
)
RESERVED: Final = Verdict(
    Outcome.CONFLICTING, "an account that left this e-mail address can still go back to it"
)
TWICE: Final = Verdict(Outcome.CONFLICTING, "an earlier line has this e-mail address or id")


def taken(by: UUID) -> Verdict:
    """The verdict on a line whose address another account has."""
    return Verdict(Outcome.CONFLICTING, f"account {by} has this e-mail address")


@dataclass(slots=True)
class Earlier:
    """The new users of earlier lines that the database does not show yet.

    Only hashes are stored, 200 bytes for a user: a dry run stores all of them.
    """

    _emails: dict[int, int] = field(default_factory=dict)
    _ids: dict[int, int | None] = field(default_factory=dict)

    def add(self, user: NewUser) -> None:
        """Note a new user."""
        email = hash(user.email)
        self._ids[email] = None if user.id is None else hash(user.id)
        if user.id is not None:
            self._emails[hash(user.id)] = email

    def judge(self, user: NewUser) -> Verdict | None:
        """The verdict on a line that repeats an earlier one; None if none has its id or address."""
        email = hash(user.email)
        if user.id is not None and hash(user.id) in self._emails:
            return SAME if self._emails[hash(user.id)] == email else TWICE
        if email in self._ids:
            return SAME if user.id is None else TWICE
        return None


def judge(user: NewUser, present: Present, earlier: Earlier) -> Verdict:
    """Decide what becomes of the user in a line.

    Parameters:
        user: as the line has them.
        present: the users in the database with their id or address.
        earlier: the new users of earlier lines.
    """
    if user.id is not None and user.id in present.emails:
        there = present.emails[user.id]
        if there is None:
            return DELETED
        return SAME if there == user.email else OTHER_ADDRESS
    if user.email in present.ids:
        return SAME if user.id is None else taken(present.ids[user.email])
    if user.email in present.reserved:
        return RESERVED
    return earlier.judge(user) or NEW


@dataclass(slots=True)
class Report:
    """How many lines had each outcome."""

    counts: Counter[Outcome] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        """Whether every line was new or the same."""
        return not (self.counts[Outcome.CONFLICTING] or self.counts[Outcome.UNREADABLE])

    def figures(self) -> Mapping[str, Any]:
        """The counts by name, for ``show``."""
        return {"lines": self.counts.total()} | {
            outcome.value: self.counts[outcome] for outcome in Outcome
        }
