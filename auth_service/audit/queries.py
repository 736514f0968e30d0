"""Read the audit log, newest first."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.audit.model import Action, Entry
from auth_service.audit.table import audit_log


async def audit_entries(
    connection: AsyncConnection,
    *,
    limit: int,
    before: int | None = None,
    subject: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    without: Action | None = None,
) -> Sequence[Entry]:
    """Read the newest ``limit`` entries, newest first.

    Parameters:
        before: only entries older than the one with this id.
        subject: only entries about this id.
        actor: only entries of this actor.
        action: only entries of this action.
        since: only entries of this time or later.
        until: only earlier entries.
        without: no entries of this action.
    """
    query = select(audit_log).order_by(audit_log.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit_log.c.id < before)
    if subject is not None:
        query = query.where(audit_log.c.subject == subject)
    if actor is not None:
        query = query.where(audit_log.c.actor == actor)
    if action is not None:
        query = query.where(audit_log.c.action == action)
    if since is not None:
        query = query.where(audit_log.c.occurred_at >= since)
    if until is not None:
        query = query.where(audit_log.c.occurred_at < until)
    if without is not None:
        query = query.where(audit_log.c.action != without)
    return [Entry(**row) for row in (await connection.execute(query)).mappings()]
