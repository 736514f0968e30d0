"""A user, and the errors by which a use case refuses. Pure."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from email_validator import EmailNotValidError, validate_email

from contracts.events import EMAIL_LENGTH_MAX, ROLE_LENGTH_MAX, UserState
from service_kit.process.clock import AHEAD_SECONDS_MAX

Status = Literal["active", "disabled"]

PASSWORD_LENGTH_MAX: Final = 256
"""Far above any passphrase; longer passwords would only make hashing a denial of service."""

CLOCK_AHEAD_MAX: Final = timedelta(seconds=AHEAD_SECONDS_MAX)
"""How far ahead ``tokens_valid_after`` may be: each of several revocations in a row moves it by a
second. A value beyond that was set before the clock was set back."""

ROLE_PATTERN: Final = rf"^[a-z][a-z0-9_-]{{0,{ROLE_LENGTH_MAX - 1}}}$"
"""Names of roles that administrators may grant; events may carry others."""


def is_far_ahead(valid_after: datetime | None, now: datetime) -> bool:
    """Whether tokens become valid only at a time that a wrong clock must have shown."""
    return valid_after is not None and valid_after > now + CLOCK_AHEAD_MAX


class UserError(Exception):
    """A use case refused; subclasses give the reason.

    UserError
    ├── AccountDisabled
    ├── BadEmail
    ├── EmailTaken
    ├── LastAdministrator
    ├── NoAdministrator
    ├── NoSuchUser
    ├── VersionsExhausted
    └── WrongPassword
    """


class AccountDisabled(UserError):
    """The user exists, and is disabled."""


class BadEmail(UserError):
    """The text is not a valid e-mail address."""


class EmailTaken(UserError):
    """Another user has this e-mail address."""


class LastAdministrator(UserError):
    """This user is the last active administrator."""


class NoAdministrator(UserError):
    """The requesting user no longer is an administrator."""


class NoSuchUser(UserError):
    """There is no such user, or they were deleted."""


class VersionsExhausted(UserError):
    """The user has the highest possible version and can only be deleted."""


class WrongPassword(UserError):
    """The password is not this user's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A living user, as of ``version``."""

    id: UUID
    version: int
    email: str
    email_verified: bool
    roles: tuple[str, ...]
    status: Status
    tokens_valid_after: datetime | None
    created_at: datetime
    updated_at: datetime
    pending_email: str | None = None
    """The requested address, which waits for its link to be opened; in no event."""

    def state(self) -> UserState:
        """The state that events carry."""
        return UserState(
            id=self.id,
            version=self.version,
            email=self.email,
            email_verified=self.email_verified,
            roles=self.roles,
            status=self.status,
            tokens_valid_after=self.tokens_valid_after,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


def normalised_email(text: str) -> str:
    """Normalise an address to the form in which it is stored and compared: NFC, lower case.

    Raises:
        BadEmail: the text is not a valid address, or too long.
    """
    try:
        valid = validate_email(text, check_deliverability=False)
    except EmailNotValidError as error:
        raise BadEmail(str(error)) from None
    email = unicodedata.normalize("NFC", valid.normalized.lower())
    if len(email) > EMAIL_LENGTH_MAX:
        raise BadEmail(f"use an address of at most {EMAIL_LENGTH_MAX} characters")
    return email
