"""The latest time that the database's clock has shown, as far as its tables tell."""

from sqlalchemy import TextClause, text

from replica.table import Replica


def latest(replica: Replica) -> TextClause:
    """SQL for that time. A consumer leaves a sample every few seconds, which is kept for a day."""
    times = (
        "(SELECT max(taken_at) FROM samples)",
        "(SELECT max(applied_at) FROM heartbeats)",
        *replica.latest_times,
    )
    return text(f"SELECT greatest({', '.join(times)})")
