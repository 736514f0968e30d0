"""Look up service accounts and their keys."""

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.services.model import KeyRecord, NoSuchService, ServiceAccount
from auth_service.services.table import api_keys, service_accounts, to_key, to_service
from contracts.tokens import AccessToken


async def services_page(
    connection: AsyncConnection, name: str | None, limit: int
) -> list[ServiceAccount]:
    """The first ``limit`` accounts after ``name``, by name."""
    query = select(service_accounts).order_by(service_accounts.c.name).limit(limit)
    if name is not None:
        query = query.where(service_accounts.c.name > name)
    return [to_service(row) for row in await connection.execute(query)]


async def service_by_id(connection: AsyncConnection, service_id: str) -> ServiceAccount:
    """The account; raises ``NoSuchService``."""
    query = select(service_accounts).where(service_accounts.c.id == service_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NoSuchService(f"there is no service account {service_id}")
    return to_service(row)


async def is_service_token_valid(connection: AsyncConnection, token: AccessToken) -> bool:
    """Whether a service's token is valid: its account is active and has not revoked it."""
    query = select(service_accounts.c.status, service_accounts.c.tokens_valid_after).where(
        service_accounts.c.id == token.subject
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None or row.status != "active":
        return False
    valid_after = row.tokens_valid_after
    return valid_after is None or token.issued_at >= valid_after.timestamp()


async def keys_page(
    connection: AsyncConnection, service_id: str, key_id: str | None, limit: int
) -> list[KeyRecord]:
    """The newest ``limit`` keys of an account, including revoked ones.

    Parameters:
        key_id: only keys older than this one; a key's row stays as long as its account.
    """
    age = tuple_(api_keys.c.created_at, api_keys.c.key_id)
    query = (
        select(api_keys)
        .where(api_keys.c.service_id == service_id)
        .order_by(api_keys.c.created_at.desc(), api_keys.c.key_id.desc())
        .limit(limit)
    )
    if key_id is not None:
        since = select(api_keys.c.created_at).where(api_keys.c.key_id == key_id).scalar_subquery()
        query = query.where(age < tuple_(since, key_id))
    return [to_key(row) for row in await connection.execute(query)]


async def services_with_keys(
    connection: AsyncConnection,
) -> list[tuple[ServiceAccount, list[KeyRecord]]]:
    """All accounts by name, each with its keys, newest first."""
    found = await connection.execute(select(service_accounts).order_by(service_accounts.c.name))
    accounts = {row.id: (to_service(row), list[KeyRecord]()) for row in found}
    for row in await connection.execute(select(api_keys).order_by(api_keys.c.created_at.desc())):
        if row.service_id in accounts:  # it may be younger than the first query
            accounts[row.service_id][1].append(to_key(row))
    return list(accounts.values())
