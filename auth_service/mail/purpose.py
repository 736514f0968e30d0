"""Why mails are sent, and to whom. Pure."""

from enum import StrEnum
from typing import Final


class Purpose(StrEnum):
    """Why a mail is sent."""

    VERIFY_EMAIL = "verify_email"
    CONFIRM_EMAIL = "confirm_email"
    EMAIL_CHANGE = "email_change"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a name, no secret
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a name, no secret
    TOKEN_REUSED = "token_reused"  # noqa: S105 - a name, no secret
    NEW_DEVICE = "new_device"


NOTICES: Final = frozenset(
    {Purpose.EMAIL_CHANGE, Purpose.PASSWORD_CHANGED, Purpose.TOKEN_REUSED, Purpose.NEW_DEVICE}
)
"""Mails that tell an account's holder what somebody did with it.

They go to verified addresses alone, and each kind has a share of the limit that no other mail can
use up.
"""
