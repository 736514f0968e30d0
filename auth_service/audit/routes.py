"""The audit log over HTTP, for administrators."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from auth_service.audit.model import Action
from auth_service.audit.queries import audit_entries
from auth_service.context import Auth
from auth_service.sessions.bearer import ADMINISTRATORS_ONLY, Administrator
from contracts.sync.replays import Instant
from service_kit.http.openapi import documented
from service_kit.http.pagination import PAGE_ITEMS_DEFAULT, Limit, NumberCursor, Page, page_of

NAME_LENGTH_MAX = 256
"""Of a requested subject or actor; no id is longer."""

router = APIRouter(prefix="/v1/admin", tags=["administration"])

Name = Annotated[str, Query(max_length=NAME_LENGTH_MAX)]


class EntryBody(BaseModel):
    """One entry. It holds ids only, so that it outlives the users that it is about."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    occurred_at: datetime
    action: str = Field(examples=["roles_changed"])
    actor: str = Field(
        description="user:ID, operator:NAME (at the command line) or anonymous",
        examples=["user:0b6f1c1e-4a3f-4e43-8a4a-8f0b8b3b4a52"],
    )
    subject: str | None = Field(description="id of what it was done to")
    request_id: str | None = Field(description="X-Request-ID of the request that did it")
    details: Mapping[str, Any] | None = Field(examples=[{"granted": ["editor"], "revoked": []}])


@router.get(
    "/audit",
    summary="List audit entries",
    responses=documented(*ADMINISTRATORS_ONLY),
)
async def get_audit(
    _: Administrator,
    auth: Auth,
    cursor: NumberCursor | None = None,
    subject: Name | None = None,
    actor: Name | None = None,
    action: Action | None = None,
    since: Annotated[Instant, Query(description="only entries of this time or later")] = None,
    until: Annotated[Instant, Query(description="only earlier entries")] = None,
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[EntryBody]:
    """The audit log, newest first: all of it, or the entries that meet every condition."""
    async with auth.engine.connect() as connection:
        found = await audit_entries(
            connection,
            limit=limit + 1,
            before=cursor,
            subject=subject,
            actor=actor,
            action=action,
            since=since,
            until=until,
        )
    return page_of(
        [EntryBody.model_validate(entry) for entry in found], limit, key=lambda entry: entry.id
    )
