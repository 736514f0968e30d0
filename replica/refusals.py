"""Decide whether a user is served, by their row and the time of their token. Pure.

Requests ask here (``caller``), and so does what tells operators what one would get (``life``).

Not here: whether the token itself is valid and its key counts, what the caller may do, and limits.
"""

from datetime import datetime
from enum import StrEnum


class Refusal(StrEnum):
    """Why a user is not served although their token is valid."""

    DELETED = "deleted"
    DISABLED = "disabled"
    REVOKED = "revoked"
    """The token was issued before ``tokens_valid_after``."""


def refusal(
    status: str, tokens_valid_after: datetime | None, *, issued_at: float
) -> Refusal | None:
    """Why the user is refused; None if they are served.

    Parameters:
        status: of their row.
        tokens_valid_after: of their row.
        issued_at: when the token was issued, in seconds since 1970.
    """
    if status == "deleted":
        return Refusal.DELETED
    if status == "disabled":
        return Refusal.DISABLED
    return Refusal.REVOKED if is_revoked(tokens_valid_after, issued_at=issued_at) else None


def is_revoked(tokens_valid_after: datetime | None, *, issued_at: float) -> bool:
    """Whether a token counts no more because of the time at which it was issued."""
    return tokens_valid_after is not None and issued_at < tokens_valid_after.timestamp()
