"""Why mails are sent. Pure."""

from enum import StrEnum


class Purpose(StrEnum):
    """Why a mail is sent."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a name, no secret
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a name, no secret
