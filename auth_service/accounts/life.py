"""Gather the life of a user at the source: what ``overview`` shows, and what was sent about them.

Guarantees: it is bounded, and has no content of any event, so nothing personal of a deleted user.

Not here: what a replica made of it; its service shows that (``SERVICE users life``).
"""

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.accounts.overview import overview
from auth_service.outbox.set_aside import BEHIND, RETURNED, UNSENDABLE
from auth_service.outbox.table import outbox_events

VERSIONS_SHOWN_MAX: Final = 50
"""Latest versions of the user: more than anyone reads, and a page of the index. ``users export``
has all of them."""

WHY_SET_ASIDE: Final = {
    RETURNED: "no queue takes it",
    BEHIND: "an earlier event of the user waits",
    UNSENDABLE: "too large to be sent",
}


async def life(connection: AsyncConnection, id_or_email: str) -> dict[str, Any]:
    """Read what ``overview`` reads, and the user's latest ``versions`` in the log, newest first.

    A pruned event is missing. ``set_aside`` says why an event waits, and is None if it does not.

    Parameters:
        id_or_email: the id, also of a deleted user, or the e-mail address.

    Raises:
        NoSuchUser: there is no such user.
        BadEmail: the text is neither an id nor an address.
    """
    found = await overview(connection, id_or_email)
    query = (
        select(
            outbox_events.c.version,
            outbox_events.c.event_id,
            outbox_events.c.type,
            outbox_events.c.occurred_at.label("recorded_at"),
            outbox_events.c.published_at,
            outbox_events.c.set_aside,
        )
        .where(outbox_events.c.user_id == found["id"])
        .order_by(outbox_events.c.position.desc())
        .limit(VERSIONS_SHOWN_MAX)
    )
    rows = (await connection.execute(query)).mappings()
    versions = [{**row, "set_aside": WHY_SET_ASIDE.get(row["set_aside"])} for row in rows]
    return {**found, "versions": versions}
