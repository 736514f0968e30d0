"""Request and response bodies that show or name a user; OpenAPI shows them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from auth_service.users.model import PASSWORD_LENGTH_MAX
from contracts.events import EMAIL_LENGTH_MAX


def _is_unicode(value: SecretStr) -> SecretStr:
    """JSON can hold half of a surrogate pair, which no encoding of text can."""
    try:
        value.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode") from None
    return value


Email = Annotated[str, Field(max_length=EMAIL_LENGTH_MAX, examples=["ada@example.org"])]
Password = Annotated[
    SecretStr,
    Field(
        min_length=1, max_length=PASSWORD_LENGTH_MAX, examples=["a few unrelated words of your own"]
    ),
    AfterValidator(_is_unicode),
]


class Body(BaseModel):
    """Base of the bodies: unknown members are refused."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)


class Credentials(Body):
    """E-mail address and password."""

    email: Email
    password: Password


class UserBody(Body):
    """A user, as they and administrators see them. Times are UTC."""

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

    ``pending_email`` waits for its link to be opened; it is missing if no change is pending.
    """

    pending_email: str | None = Field(None, exclude_if=lambda email: email is None)
