"""Request and response bodies of sessions; OpenAPI shows them."""

from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from pydantic import Field

from auth_service.users.bodies import Body, Credentials, OwnUserBody, Password


class TokenStorage(StrEnum):
    """Where a client stores its refresh token: itself, or in a cookie that no script can read."""

    TOKEN = "token"  # noqa: S105 - a place, no secret
    COOKIE = "cookie"


class NewCredentials(Credentials):
    """E-mail address and password, and where to store the session's refresh token."""

    session: TokenStorage = Field(
        TokenStorage.TOKEN,
        description="`cookie`, for browsers: the refresh token comes as the cookie `__Host-refresh`"
        " in place of `refresh_token`, and `POST /v1/session/refresh` takes it",
    )


class SignedIn(Body):
    """A user and their tokens (RFC 6749 5.1); ``expires_in`` in seconds.

    ``refresh_token`` is missing if a cookie holds it.
    """

    user: OwnUserBody
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a type, no secret
    expires_in: int
    refresh_token: str | None = None


class PasswordOnly(Body):
    """The password, to confirm what is sensitive or cannot be undone."""

    password: Password


class Confirmed(Body):
    """A new access token of the present session; ``expires_in`` in seconds."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a type, no secret
    expires_in: int


class SessionBody(Body):
    """A session as its user sees it. Times are UTC; ``expires_at`` unless it is ended earlier."""

    id: UUID
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    user_agent: str | None = Field(description="the device's User-Agent at sign-in")
    current: bool = Field(description="whether this request was made in it")
