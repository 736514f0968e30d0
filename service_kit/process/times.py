"""How commands, messages and status show a time: one form for people."""

from datetime import UTC, datetime


def time_text(instant: datetime) -> str:
    """Return the time in UTC to the second, such as ``2026-01-31 12:00:00Z``.

    It is a form of RFC 3339, and options that take a time accept it. JSON has the other form, with
    a ``T`` and microseconds.
    """
    return f"{instant.astimezone(UTC):%F %T}Z"
