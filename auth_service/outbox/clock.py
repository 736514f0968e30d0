"""Find the latest time that the auth database's clock has shown, as far as its tables tell."""

from typing import Final

from sqlalchemy import text

from service_kit.process.clock import AHEAD_SQL

LATEST: Final = text(
    # Only future times are read, by the index of times. The index serves now(), but not
    # clock_timestamp().
    "SELECT greatest((SELECT heartbeat_at FROM source), ("  # noqa: S608 - made of a constant
    "SELECT max(occurred_at) FROM outbox_events"
    f" WHERE occurred_at > now() + {AHEAD_SQL}))"
)
"""SQL for that time: every change of a user leaves an event with its time."""
