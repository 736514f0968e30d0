"""The bodies of requests and answers about users and their sessions; OpenAPI shows them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from auth_service.users.model import PASSWORD_LENGTH_MAX
from contracts.events import EMAIL_LENGTH_MAX


def _encodable(value: SecretStr) -> SecretStr:
    """JSON can hold half of a surrogate pair, which no encoding of text can."""
    try:
        value.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("is no Unicode text") from None
    return value


Email = Annotated[str, Field(max_length=EMAIL_LENGTH_MAX, examples=["ada@example.org"])]
Password = Annotated[
    SecretStr,
    Field(
        min_length=1, max_length=PASSWORD_LENGTH_MAX, examples=["a few unrelated words of your own"]
    ),
    AfterValidator(_encodable),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", from_attributes=True)


class Credentials(_Body):
    """E-mail address and password."""

    email: Email
    password: Password


class Keep(StrEnum):
    """Where a client keeps its refresh token: itself, or in a cookie that no script can read."""

    TOKEN = "token"  # noqa: S105 - a place, no secret
    COOKIE = "cookie"


class NewCredentials(Credentials):
    """E-mail address and password, and what shall hold the session."""

    session: Keep = Field(
        Keep.TOKEN,
        description="`cookie`, for browsers: the refresh token comes as the cookie `__Host-refresh`"
        " in place of `refresh_token`, and `POST /v1/session/refresh` takes it",
    )


class PasswordOnly(_Body):
    """The password, to confirm what cannot be undone."""

    password: Password


class PasswordChange(_Body):
    """The password, and the one that shall take its place."""

    current_password: Password
    new_password: Password


class UserBody(_Body):
    """A user as he sees himself. Times are UTC."""

    id: UUID
    email: str
    email_verified: bool
    roles: list[str]
    status: Literal["active", "disabled"]
    version: int
    created_at: datetime
    updated_at: datetime


class OwnUserBody(UserBody):
    """A user's own account.

    ``pending_email`` waits for its link to be opened; it is missing where no change is pending.
    """

    pending_email: str | None = Field(None, exclude_if=lambda email: email is None)


class SignedIn(_Body):
    """A user and tokens for him (RFC 6749 5.1); ``expires_in`` in seconds.

    ``refresh_token`` is missing where a cookie holds it.
    """

    user: OwnUserBody
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a type, no secret
    expires_in: int
    refresh_token: str | None = None


class SessionBody(_Body):
    """A session as its user sees it. Times are UTC; it expires earlier if it is ended before."""

    id: UUID
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    user_agent: str | None = Field(description="what the device called itself at sign-in")
    current: bool = Field(description="whether this request was made in it")
