"""What a user is, and the ways in which a use case can refuse.

Pure: imports the standard library, libraries that do no I/O, and ``contracts``.
"""

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
"""Far above any passphrase; more would only make hashing a way to keep the service busy."""

CLOCK_AHEAD_MAX: Final = timedelta(seconds=AHEAD_SECONDS_MAX)
"""How far ahead ``tokens_valid_after`` may be: revocations in a row move it a second each, and each
wants a token that is valid. What lies beyond was made before the clock was set back."""

ROLE_PATTERN: Final = rf"^[a-z][a-z0-9_-]{{0,{ROLE_LENGTH_MAX - 1}}}$"
"""What administrators may call a role; events may carry others."""


def is_far_ahead(valid_after: datetime | None, now: datetime) -> bool:
    """Whether tokens are valid from a time on that only a wrong clock can have shown."""
    return valid_after is not None and valid_after > now + CLOCK_AHEAD_MAX


class UserError(Exception):
    """A use case refused. Subclasses say why.

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
    """The text is no e-mail address."""


class EmailTaken(UserError):
    """Another user has this e-mail address."""


class LastAdministrator(UserError):
    """Without this user nobody could administer the others."""


class NoAdministrator(UserError):
    """Who asks for this was an administrator, and is one no more."""


class NoSuchUser(UserError):
    """There is no such user, or none any more."""


class VersionsExhausted(UserError):
    """The user has the highest version there is, so that nothing but their deletion is left."""


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
    """The address that was asked for and waits for its link to be opened; in no event."""

    def state(self) -> UserState:
        """What events say of this user."""
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
    """The one form in which an address is stored and compared: NFC, lower case.

    Raises:
        BadEmail: when ``text`` is no address of bounded length.
    """
    try:
        valid = validate_email(text, check_deliverability=False)
    except EmailNotValidError as error:
        raise BadEmail(str(error)) from None
    email = unicodedata.normalize("NFC", valid.normalized.lower())
    if len(email) > EMAIL_LENGTH_MAX:
        raise BadEmail(f"an address has at most {EMAIL_LENGTH_MAX} characters")
    return email
