"""Find users, and show the life of one, for users who operate or administer at this moment.

Guarantees: only administrators see addresses and audit entries. An address is never part of a
request's own address, which proxies and browsers keep.
"""

from typing import Final
from uuid import UUID

from fastapi import APIRouter

from auth_service.accounts.view import find, view
from auth_service.accounts.view_bodies import (
    FoundBody,
    FoundUsersBody,
    SearchBody,
    UserLifeBody,
)
from auth_service.context import Auth
from auth_service.sessions.bearer import ADMINISTRATORS_ONLY, OperatorOrAdministrator
from auth_service.users.administrators import is_administrator
from service_kit.http import problems
from service_kit.http.openapi import documented

router = APIRouter(prefix="/v1/admin/users", tags=["administration"])

ROLES: Final = ADMINISTRATORS_ONLY
"""Problems of a route for either role."""


@router.post("/search", summary="Find users", responses=documented(*ROLES))
async def post_search(
    body: SearchBody, caller: OperatorOrAdministrator, auth: Auth
) -> FoundUsersBody:
    """The first twenty whose id begins like that, also deleted ones.

    For administrators also those whose address does; such a search is in the audit log.
    """
    by_address = is_administrator(caller.user)
    found = await find(auth.engine, body.text, actor=caller.actor, by_address=by_address)
    return FoundUsersBody(
        items=[FoundBody.of(user, shows_addresses=by_address) for user in found],
        searched_addresses=by_address,
    )


@router.get(
    "/{user_id}/life",
    summary="Show the life of a user",
    responses=documented(*ROLES, problems.NOT_FOUND),
)
async def get_life(user_id: UUID, caller: OperatorOrAdministrator, auth: Auth) -> UserLifeBody:
    """The user, also a deleted one, and what was sent about them. It is in the audit log."""
    found = await view(auth.engine, str(user_id), actor=caller.actor)
    return UserLifeBody.of(found, for_administrators=is_administrator(caller.user))
