"""Administration of users over HTTP, for users who have the role ``admin`` at this moment."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response, status

from auth_service.accounts.administer import administer
from auth_service.accounts.bodies import UserChanges
from auth_service.accounts.delete import delete_by
from auth_service.accounts.view import find_exactly
from auth_service.context import Auth
from auth_service.problems import INVALID_EMAIL, LAST_ADMINISTRATOR, VERSIONS_EXHAUSTED
from auth_service.sessions.bearer import ADMINISTRATORS_ONLY, Administrator
from auth_service.sessions.recent_password import RECENT_ADMINISTRATORS_ONLY, RecentAdministrator
from auth_service.users.bodies import UserBody
from auth_service.users.marker import CHANGED, marker
from auth_service.users.model import User
from auth_service.users.queries import find_user, find_users
from contracts.events import EMAIL_LENGTH_MAX
from service_kit.http import problems
from service_kit.http.openapi import documented
from service_kit.http.pagination import PAGE_ITEMS_DEFAULT, Limit, Page, UuidCursor, page_of

router = APIRouter(prefix="/v1/admin/users", tags=["administration"])


@router.get(
    "",
    summary="List or find users",
    responses=documented(*ADMINISTRATORS_ONLY, INVALID_EMAIL),
)
async def get_users(
    caller: Administrator,
    auth: Auth,
    cursor: UuidCursor | None = None,
    email: Annotated[
        str | None,
        Query(max_length=EMAIL_LENGTH_MAX, description="only the user with exactly this address"),
    ] = None,
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[UserBody]:
    """A page of all users, in no particular order, or the one with an e-mail address.

    A search by address is in the audit log. `POST /v1/admin/users/search` keeps the address out of
    the URL.
    """
    found: Sequence[User]
    if email is not None:
        found = await find_exactly(auth.engine, email, actor=caller.actor)
    else:
        async with auth.engine.connect() as connection:
            found = await find_users(connection, after=cursor, limit=limit + 1)
    return page_of(
        [UserBody.model_validate(user) for user in found], limit, key=lambda user: user.id
    )


@router.get(
    "/{user_id}",
    summary="Show a user",
    responses=documented(*ADMINISTRATORS_ONLY, problems.NOT_FOUND),
)
async def get_user(user_id: UUID, _: Administrator, auth: Auth) -> UserBody:
    """The user; a deleted user is not found."""
    async with auth.engine.connect() as connection:
        return UserBody.model_validate(await find_user(connection, user_id))


@router.patch(
    "/{user_id}",
    summary="Change a user's roles, disable or enable them",
    responses=documented(
        *RECENT_ADMINISTRATORS_ONLY,
        problems.NOT_FOUND,
        LAST_ADMINISTRATOR,
        VERSIONS_EXHAUSTED,
    ),
)
async def patch_user(
    user_id: UUID, body: UserChanges, caller: RecentAdministrator, auth: Auth
) -> UserBody:
    """The user after the change."""
    changed = await administer(
        auth.engine,
        user_id,
        actor=caller.actor,
        administrator=caller.user.id,
        roles=body.roles,
        status=body.status,
    )
    return UserBody.model_validate(changed)


@router.delete(
    "/{user_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete a user",
    responses=documented(*RECENT_ADMINISTRATORS_ONLY, problems.NOT_FOUND, LAST_ADMINISTRATOR)
    | CHANGED,
)
async def delete_user(
    user_id: UUID, caller: RecentAdministrator, auth: Auth, response: Response
) -> None:
    """Erase the user permanently, as if they had deleted their own account."""
    version = await delete_by(
        auth.engine, user_id, actor=caller.actor, administrator=caller.user.id
    )
    response.headers.update(marker(version))
