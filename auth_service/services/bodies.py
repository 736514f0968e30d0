"""Request and response bodies of service accounts; the commands print the same JSON."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from auth_service.services.model import NAME_PATTERN, SCOPES, Scope, Status


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", from_attributes=True)


class NewServiceBody(_Body):
    """A service account to create."""

    name: Annotated[str, Field(pattern=NAME_PATTERN, examples=["feed-importer"])]
    scopes: Annotated[
        list[Scope], Field(min_length=1, max_length=len(SCOPES), examples=[["posts:write"]])
    ]


class ServiceBody(_Body):
    """A service account. Times are UTC."""

    id: Annotated[str, Field(examples=["svc_4fJk0Zr9QmWc2xLp"])]
    name: str
    scopes: list[str]
    status: Status
    created_at: datetime


class ServiceChanges(_Body):
    """What administrators change of a service account."""

    status: Status = Field(description="`disabled` has all its tokens refused everywhere")


class KeyBody(_Body):
    """An API key without its secret: valid until ``expires_at`` or ``revoked_at``."""

    key_id: Annotated[str, Field(examples=["7hQ2mZx0RkTb"])]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class IssuedKeyBody(_Body):
    """A new API key and its service account; ``api_key`` is never shown again."""

    id: str
    name: str
    scopes: list[str]
    key_id: str
    api_key: str
    expires_at: datetime


class ServiceWithKeysBody(ServiceBody):
    """A service account and all its keys, newest first."""

    keys: list[KeyBody]
