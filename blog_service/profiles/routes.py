"""The HTTP endpoints of users: their own profile, and the public view of others."""

from typing import Final
from uuid import UUID

from fastapi import APIRouter, Depends

from blog_service.context import Blog
from blog_service.profiles.bodies import MeBody, ProfileChanges, PublicUserBody
from blog_service.profiles.change import change_profile
from blog_service.profiles.read import user_with_profile
from replica.caller import CurrentUser
from replica.users.at_least import caught_up
from service_kit.http import problems
from service_kit.http.bearer import invalid_token
from service_kit.http.openapi import TOKEN, documented
from service_kit.http.problems import Problem

router: Final = APIRouter(prefix="/v1", tags=["users"])


@router.get("/me", summary="Show your profile", responses=documented(*TOKEN))
async def get_me(user: CurrentUser, blog: Blog) -> MeBody:
    """Return the caller as this service knows them; it works right after sign-up."""
    async with blog.engine.connect() as connection:
        found = await user_with_profile(connection, user.id)
    if found is None:  # deleted since the token was verified
        raise invalid_token()
    return MeBody.model_validate(found)


@router.patch("/me", summary="Change your profile", responses=documented(*TOKEN))
async def patch_me(body: ProfileChanges, user: CurrentUser, blog: Blog) -> MeBody:
    """Change the profile and return it. E-mail and password are changed at the auth service."""
    changes = body.model_dump(exclude_unset=True)
    return MeBody.model_validate(await change_profile(blog.engine, user, changes))


@router.get(
    "/users/{user_id}",
    summary="Show a user's public profile",
    dependencies=[Depends(caught_up)],
    responses=documented(problems.NOT_FOUND, problems.NOT_CAUGHT_UP),
)
async def get_user(user_id: UUID, blog: Blog) -> PublicUserBody:
    """Return a user who is not deleted.

    With `at_least` and `wait`, wait for a change that the caller has made at the auth service.
    """
    async with blog.engine.connect() as connection:
        found = await user_with_profile(connection, user_id)
    if found is None:
        raise Problem(problems.NOT_FOUND)
    return PublicUserBody.model_validate(found)
