"""The bodies of requests about mails and their links."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from auth_service.bodies import Email, Password

TOKEN_LENGTH_MAX = 128
"""Above any token that was ever mailed; what is longer need not be hashed."""

LinkToken = Annotated[
    str,
    Field(
        max_length=TOKEN_LENGTH_MAX,
        repr=False,
        description="what follows the = in the link",
        examples=["pZ4cF0nq0u8XhJm1vQ2rTj6yWkLbNeDsA9gIoU3xYzE"],
    ),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MailedToken(_Body):
    """The token of a link."""

    token: LinkToken


class ForgottenPassword(_Body):
    """The address of an account whose password was forgotten."""

    email: Email


class NewPassword(_Body):
    """The token of a link, and the password to have from now on."""

    token: LinkToken
    new_password: Password
