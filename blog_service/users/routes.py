"""Users over HTTP, answered from the replica alone."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from blog_service.context import Blog
from blog_service.users.caller import CurrentUser
from blog_service.users.table import users
from contracts import problems
from contracts.openapi import TOKEN, documented
from contracts.problems import Problem

router = APIRouter(prefix="/v1", tags=["users"])


class Me(BaseModel):
    """The caller as this service knows him; null is what no event has told yet."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str | None
    email_verified: bool
    roles: list[str]
    status: str
    version: int
    created_at: datetime | None
    updated_at: datetime | None


class PublicUser(BaseModel):
    """What anyone may see of a user: no e-mail address."""

    id: UUID
    status: str
    version: int
    created_at: datetime | None


@router.get("/me", summary="The caller, as this service knows him", responses=documented(*TOKEN))
async def get_me(user: CurrentUser) -> Me:
    """The caller's row of the replica; the first request after sign-up always works."""
    return Me.model_validate(user)


@router.get(
    "/users/{user_id}",
    summary="A user, as anyone may see him",
    responses=documented(problems.NOT_FOUND),
)
async def get_user(user_id: UUID, blog: Blog) -> PublicUser:
    """A user who is not deleted."""
    query = select(users.c.id, users.c.status, users.c.version, users.c.created_at).where(
        users.c.id == user_id, users.c.status != "deleted"
    )
    async with blog.engine.connect() as connection:
        row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return PublicUser(**row)
