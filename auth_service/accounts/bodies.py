"""Request bodies of a user's own account, of links in mails, and of administration."""

from typing import Annotated

from pydantic import Field

from auth_service.users.bodies import Body, Email, Password
from auth_service.users.model import ROLE_PATTERN, Status
from contracts.events import ROLES_MAX

TOKEN_LENGTH_MAX = 128
"""Longer than any mailed token; anything longer need not be hashed."""

LinkToken = Annotated[
    str,
    Field(
        max_length=TOKEN_LENGTH_MAX,
        repr=False,
        description="what follows the = in the link",
        examples=["pZ4cF0nq0u8XhJm1vQ2rTj6yWkLbNeDsA9gIoU3xYzE"],
    ),
]

Role = Annotated[str, Field(pattern=ROLE_PATTERN, examples=["moderator"])]


class PasswordChange(Body):
    """The current password and its replacement."""

    current_password: Password
    new_password: Password


class MailedToken(Body):
    """The token of a link."""

    token: LinkToken


class ForgottenPassword(Body):
    """The address of an account whose password was forgotten."""

    email: Email


class NewPassword(Body):
    """The token of a link, and the new password."""

    token: LinkToken
    new_password: Password


class UserChanges(Body):
    """What an administrator changes of a user; a missing or null member stays as it is."""

    roles: list[Role] | None = Field(
        None, max_length=ROLES_MAX, description="all roles of the user after the change"
    )
    status: Status | None = Field(
        None, description="`disabled` ends all sessions and has all tokens refused everywhere"
    )
