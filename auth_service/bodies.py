"""The bodies of requests and answers about users, as ``interfaces`` promises them to clients."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from auth_service.settings import PASSWORD_LENGTH_MAX
from auth_service.tokens.sign import TokenSigner
from auth_service.users.model import User
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
    Field(min_length=1, max_length=PASSWORD_LENGTH_MAX, examples=["correct horse battery staple"]),
    AfterValidator(_encodable),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", from_attributes=True)


class Credentials(_Body):
    """E-mail address and password."""

    email: Email
    password: Password


class PasswordOnly(_Body):
    """The password, to confirm what cannot be undone."""

    password: Password


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


class SignedIn(_Body):
    """A user and an access token for him (RFC 6749 5.1); ``expires_in`` in seconds."""

    user: UserBody
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a type, no secret
    expires_in: int

    @classmethod
    def of(cls, user: User, signer: TokenSigner) -> Self:
        """The body for ``user`` with a new token."""
        return cls(
            user=UserBody.model_validate(user),
            access_token=signer.sign(user),
            expires_in=signer.lifetime_seconds,
        )
