"""Wake a waiting process on commit, on a best-effort basis.

PostgreSQL refuses a commit when its notification queue is full. Any session in any database of the
server can fill that queue: it listens, and then sleeps in a transaction. So a notification is sent
only while the queue has plenty of room. Without it, the waiting process finds the new row by
polling, a few seconds later.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, case, func

ROOM: Final = 0.5
"""Highest fill level at which to notify. Between this check and the commit, others add far less."""


def wake(channel: str) -> ColumnElement[Any]:
    """Build the expression that notifies ``channel`` on commit when a statement evaluates it."""
    return case((func.pg_notification_queue_usage() < ROOM, func.pg_notify(channel, "")))
