"""Problem documents (RFC 9457): the one shape of every error answer, and its stable codes.

A client matches on ``code``; ``title`` and ``detail`` are for people and may be reworded. Each
service raises ``Problem`` and turns it into an answer at its own edge.
"""

from dataclasses import dataclass
from typing import Any, Final

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Code:
    """A stable code with its HTTP status and a title for people."""

    name: str
    status: int
    title: str


INVALID_REQUEST: Final = Code("invalid_request", 422, "The request does not have the right form")
TWO_CREDENTIALS: Final = Code("two_credentials", 400, "The request has two Authorization headers")
AUTHENTICATION_REQUIRED: Final = Code("authentication_required", 401, "Sign in first")
INVALID_EMAIL: Final = Code("invalid_email", 422, "This is not an e-mail address")
INVALID_TOKEN: Final = Code("invalid_token", 401, "The access token is not valid")
INVALID_CREDENTIALS: Final = Code("invalid_credentials", 401, "E-mail or password is wrong")
WRONG_PASSWORD: Final = Code("wrong_password", 403, "The password is wrong")
ACCOUNT_DISABLED: Final = Code("account_disabled", 403, "The account is disabled")
USER_REQUIRED: Final = Code("user_required", 403, "This needs a user's token, not a service's")
NOT_FOUND: Final = Code("not_found", 404, "There is nothing here")
METHOD_NOT_ALLOWED: Final = Code("method_not_allowed", 405, "This method is not offered here")
EMAIL_TAKEN: Final = Code("email_taken", 409, "The e-mail address is taken")
BODY_TOO_LARGE: Final = Code("body_too_large", 413, "The request's body is too large")
BUSY: Final = Code("busy", 503, "Too much to do at the moment")
UNAVAILABLE: Final = Code("unavailable", 503, "The service cannot answer at the moment")
INTERNAL: Final = Code("internal", 500, "Something went wrong on our side")


class Problem(Exception):
    """An error that the caller shall see.

    Parameters:
        code: which one, with its status.
        detail: one sentence about this occurrence; nothing secret, no e-mail address.
        headers: for the answer, such as ``WWW-Authenticate`` or ``Retry-After``.
        errors: for each wrong field ``{"pointer": …, "detail": …}``.
    """

    def __init__(
        self,
        code: Code,
        detail: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(code.name)
        self.code = code
        self.detail = detail
        self.headers = headers or {}
        self.errors = errors or []

    def document(self) -> dict[str, Any]:
        """The members of the answer's JSON object."""
        document: dict[str, Any] = {
            "type": f"urn:usersync:problem:{self.code.name}",
            "title": self.code.title,
            "status": self.code.status,
            "code": self.code.name,
        }
        if self.detail:
            document["detail"] = self.detail
        if self.errors:
            document["errors"] = self.errors
        return document
