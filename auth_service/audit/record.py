"""Record who did what, in the transaction that does it.

Guarantees: an action and its entry are committed together, or neither is.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.audit.model import Action
from auth_service.audit.table import audit_log
from service_kit.process.telemetry import request_id


async def audit(
    connection: AsyncConnection,
    action: Action,
    *,
    actor: str,
    subject: UUID | str | None = None,
    **details: Any,
) -> None:
    """Insert an entry; the caller commits.

    Parameters:
        actor: who did it, such as ``user:ID``.
        subject: the id of the user, service, key or session that it was done to.
        details: further JSON values; nothing personal and nothing secret.
    """
    await connection.execute(
        insert(audit_log).values(
            action=action,
            actor=actor,
            subject=None if subject is None else str(subject),
            request_id=request_id.get(),
            details=details or None,
        )
    )


def on_behalf(via: str | None) -> dict[str, str]:
    """The detail that names the service that acted on the actor's behalf, if one did."""
    return {} if via is None else {"via": via}
