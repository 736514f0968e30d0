"""Revoke all access tokens of a service account, here and at every verifier.

Guarantees: deleting or disabling an account, or revoking one of its keys, also ends the tokens that
were issued before, by one event recorded in the same transaction. States of an account merge by
(deleted, version), like those of a user.

Not here: later tokens, which need a live key of an active account (``grant``).
"""

from typing import Any, Literal

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.clock import next_version, valid_from_now
from auth_service.outbox.record import record
from auth_service.services.model import NoSuchService, ServiceAccount
from auth_service.services.table import service_accounts, to_service
from contracts.events import VERSION_MAX, ServiceChanged, ServiceState


async def revoke_service_tokens(
    connection: AsyncConnection,
    service_id: str,
    *,
    status: Literal["active", "disabled", "deleted"] | None = None,
) -> None:
    """Revoke all access tokens of the account and record ``service.changed``; the caller commits.

    Parameters:
        service_id: the account, whose row the caller has locked.
        status: the new status; None: unchanged.
    """
    values: dict[str, Any] = {} if status is None else {"status": status}
    changed = await connection.execute(
        update(service_accounts)
        .where(service_accounts.c.id == service_id)
        .values(
            version=func.least(next_version(service_accounts.c.version), VERSION_MAX),
            tokens_valid_after=valid_from_now(service_accounts.c.tokens_valid_after),
            **values,
        )
        .returning(service_accounts)
    )
    row = changed.one()
    state = ServiceState(
        client_id=row.id,
        version=row.version,
        status=row.status,
        tokens_valid_after=row.tokens_valid_after,
    )
    await record(connection, ServiceChanged.type, state)


async def lock_service(connection: AsyncConnection, service_id: str) -> ServiceAccount:
    """Lock the account's row until the transaction ends.

    Every change of an account or its keys starts with this, which prevents deadlocks.

    Raises:
        NoSuchService: there is no such account.
    """
    query = select(service_accounts).where(service_accounts.c.id == service_id)
    row = (await connection.execute(query.with_for_update())).one_or_none()
    if row is None:
        raise NoSuchService(f"there is no service account {service_id}")
    return to_service(row)
