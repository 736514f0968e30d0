"""The HTTP endpoint that lists the replica for administrators."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from replica.caller import ADMINISTRATORS_ONLY, Administrator
from replica.context import RequestContext
from service_kit.http.openapi import documented
from service_kit.http.pagination import PAGE_ITEMS_DEFAULT, Limit, Page, UuidCursor, page_of

router = APIRouter(prefix="/v1/admin/users", tags=["administration"])


class ReplicaUserBody(BaseModel):
    """A row of the replica; null where no event has arrived, or in a tombstone."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str | None
    email_verified: bool
    roles: list[str]
    status: str
    version: int
    created_at: datetime | None
    updated_at: datetime | None
    deleted_at: datetime | None
    applied_at: datetime


@router.get("", summary="List the replica's users", responses=documented(*ADMINISTRATORS_ONLY))
async def get_users(
    _: Administrator,
    context: RequestContext,
    cursor: UuidCursor | None = None,
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[ReplicaUserBody]:
    """Return a page of all rows, including tombstones, ordered by id."""
    users = context.replica.table
    query = select(users).order_by(users.c.id).limit(limit + 1)
    if cursor is not None:
        query = query.where(users.c.id > cursor)
    async with context.engine.connect() as connection:
        found = (await connection.execute(query)).all()
    return page_of(
        [ReplicaUserBody.model_validate(row) for row in found], limit, key=lambda user: user.id
    )
