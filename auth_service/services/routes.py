"""Service accounts and their API keys over HTTP, for administrators."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, status

from auth_service.context import Auth
from auth_service.problems import SERVICE_NAME_TAKEN, TOO_MANY_KEYS
from auth_service.services.administer import create_service, delete_service, set_status
from auth_service.services.bodies import (
    IssuedKeyBody,
    KeyBody,
    NewServiceBody,
    ServiceBody,
    ServiceChanges,
)
from auth_service.services.keys import revoke_key, rotate_key
from auth_service.services.model import KEY_ID_PATTERN, NAME_PATTERN, SERVICE_ID_PATTERN
from auth_service.services.queries import keys_page, service_by_id, services_page
from auth_service.sessions.bearer import ADMINISTRATORS_ONLY, Administrator
from auth_service.sessions.recent_password import RECENT_ADMINISTRATORS_ONLY, RecentAdministrator
from service_kit.http import problems
from service_kit.http.openapi import documented
from service_kit.http.pagination import PAGE_ITEMS_DEFAULT, Limit, Page

router = APIRouter(prefix="/v1/admin/services", tags=["administration"])

ServiceId = Annotated[str, Path(pattern=SERVICE_ID_PATTERN)]
KeyId = Annotated[str, Path(pattern=KEY_ID_PATTERN)]

ONE_ACCOUNT: Final = documented(*ADMINISTRATORS_ONLY, problems.NOT_FOUND)
"""Responses of a route that shows one account, or its keys."""

CHANGES_ONE: Final = documented(*RECENT_ADMINISTRATORS_ONLY, problems.NOT_FOUND)
"""Responses of a route that changes one account, or one of its keys."""


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Create a service account",
    responses=documented(*RECENT_ADMINISTRATORS_ONLY, SERVICE_NAME_TAKEN),
)
async def post_service(
    body: NewServiceBody, administrator: RecentAdministrator, auth: Auth
) -> IssuedKeyBody:
    """Create the account; its first API key is shown here and never again."""
    issued = await create_service(
        auth.engine,
        auth.secrets,
        name=body.name,
        scopes=body.scopes,
        key_days=auth.settings.api_key_days,
        actor=administrator.actor,
        administrator=administrator.user.id,
    )
    return IssuedKeyBody.model_validate(issued)


@router.get("", summary="List the service accounts", responses=documented(*ADMINISTRATORS_ONLY))
async def get_services(
    _: Administrator,
    auth: Auth,
    cursor: Annotated[str | None, Query(pattern=NAME_PATTERN)] = None,
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[ServiceBody]:
    """A page of the accounts, by name."""
    async with auth.engine.connect() as connection:
        found = await services_page(connection, cursor, limit + 1)
    items = [ServiceBody.model_validate(service) for service in found[:limit]]
    return Page(items=items, next_cursor=items[-1].name if len(found) > limit else None)


@router.get("/{service_id}", summary="Show a service account", responses=ONE_ACCOUNT)
async def get_service(service_id: ServiceId, _: Administrator, auth: Auth) -> ServiceBody:
    """The account with this id."""
    async with auth.engine.connect() as connection:
        return ServiceBody.model_validate(await service_by_id(connection, service_id))


@router.patch("/{service_id}", summary="Disable or enable a service account", responses=CHANGES_ONE)
async def patch_service(
    service_id: ServiceId, body: ServiceChanges, administrator: RecentAdministrator, auth: Auth
) -> ServiceBody:
    """Set the status. A disabled account gets no token, and its tokens are refused."""
    changed = await set_status(
        auth.engine,
        service_id,
        body.status,
        actor=administrator.actor,
        administrator=administrator.user.id,
    )
    return ServiceBody.model_validate(changed)


@router.delete(
    "/{service_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete a service account",
    responses=CHANGES_ONE,
)
async def delete_service_by_id(
    service_id: ServiceId, administrator: RecentAdministrator, auth: Auth
) -> None:
    """Delete it and its keys; its tokens are refused, here at once and elsewhere with the event."""
    await delete_service(
        auth.engine, service_id, actor=administrator.actor, administrator=administrator.user.id
    )


@router.post(
    "/{service_id}/keys",
    status_code=status.HTTP_201_CREATED,
    summary="Issue another API key",
    responses=documented(*RECENT_ADMINISTRATORS_ONLY, problems.NOT_FOUND, TOO_MANY_KEYS),
)
async def post_key(
    service_id: ServiceId, administrator: RecentAdministrator, auth: Auth
) -> IssuedKeyBody:
    """The former key stays valid until it is revoked or expires; an account has two at most."""
    issued = await rotate_key(
        auth.engine,
        auth.secrets,
        service_id,
        key_days=auth.settings.api_key_days,
        actor=administrator.actor,
        administrator=administrator.user.id,
    )
    return IssuedKeyBody.model_validate(issued)


@router.get(
    "/{service_id}/keys", summary="List a service account's API keys", responses=ONE_ACCOUNT
)
async def get_keys(
    service_id: ServiceId,
    _: Administrator,
    auth: Auth,
    cursor: Annotated[str | None, Query(pattern=KEY_ID_PATTERN)] = None,
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[KeyBody]:
    """Newest first, including expired and revoked ones."""
    async with auth.engine.connect() as connection:
        await service_by_id(connection, service_id)
        found = await keys_page(connection, service_id, cursor, limit + 1)
    items = [KeyBody.model_validate(key) for key in found[:limit]]
    return Page(items=items, next_cursor=items[-1].key_id if len(found) > limit else None)


@router.delete(
    "/{service_id}/keys/{key_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Revoke an API key",
    responses=CHANGES_ONE,
)
async def delete_key(
    service_id: ServiceId, key_id: KeyId, administrator: RecentAdministrator, auth: Auth
) -> None:
    """Revoke the key, and refuse all tokens of its account; other keys get new tokens."""
    await revoke_key(
        auth.engine,
        key_id,
        actor=administrator.actor,
        administrator=administrator.user.id,
        service_id=service_id,
    )
