"""Refuse what a service account holds: the access tokens of before, here and at every verifier.

Guarantees: whatever ends a service's access, its account's deletion, its being disabled or the
revocation of one of its keys, does so for tokens that were issued already, by one event that is
recorded in the same transaction; states of an account merge by (deleted, version), like a user's.

Not here: tokens to come, which need a live key of an active account (``grant``).
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
    """Refuse all access tokens of the account from before and record ``service.changed``.

    Parameters:
        connection: in a transaction, which the caller commits.
        service_id: whose row the caller has locked.
        status: what the account is from now on; None: what it is already.
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
    """The account, its row locked until the transaction ends.

    Every change of an account or one of its keys begins here, so that nobody waits in a circle.

    Raises:
        NoSuchService: there is none.
    """
    query = select(service_accounts).where(service_accounts.c.id == service_id)
    row = (await connection.execute(query.with_for_update())).one_or_none()
    if row is None:
        raise NoSuchService(f"there is no service account {service_id}")
    return to_service(row)
