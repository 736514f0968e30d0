"""Wake the process that waits for a commit, as a courtesy.

PostgreSQL refuses a commit whose notification finds its queue full, and any session in any database
of the server can fill that: by listening, and sleeping in a transaction. So a notification is sent
only while there is plenty of room; without it the event is found by looking, a few seconds later.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, case, func

ROOM: Final = 0.5
"""How full the queue may be. What others add to it between the look and the commit is far less."""


def wake(channel: str) -> ColumnElement[Any]:
    """What notifies ``channel`` on commit, wherever a statement evaluates it."""
    return case((func.pg_notification_queue_usage() < ROOM, func.pg_notify(channel, "")))
