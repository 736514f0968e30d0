"""The latest time that the auth database's clock has shown, as far as its tables tell."""

from typing import Final

from sqlalchemy import text

from service_kit.process.clock import AHEAD_SQL

LATEST: Final = text(
    # Only the future is looked through, by the index of times: now() can be looked up in it, which
    # clock_timestamp() cannot.
    "SELECT greatest((SELECT heartbeat_at FROM source), ("  # noqa: S608 - made of a constant
    "SELECT max(occurred_at) FROM outbox_events"
    f" WHERE occurred_at > now() + {AHEAD_SQL}))"
)
"""Every change of a user leaves an event with its time."""
