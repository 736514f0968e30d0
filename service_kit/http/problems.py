"""Problem documents (RFC 9457): the shape of every error response, and its stable codes.

A client matches on ``code``; ``title`` and ``detail`` are for people and may be reworded. A service
raises ``Problem``; ``errors`` turns it into a response. ``docs/problems.md`` explains every code.

Not here: codes that one service alone uses (its own ``problems``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from service_kit.http.product import problem_urn, request_urn
from service_kit.process.telemetry import request_id

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Code:
    """A stable code with its HTTP status and a title for people.

    ``registered_type`` is the problem type (RFC 9457 3.1.1) where a registry has one; ours are
    URNs.
    """

    name: str
    status: int
    title: str
    registered_type: str | None = None

    @property
    def type(self) -> str:
        """The URI of the problem type."""
        return self.registered_type or problem_urn(self.name)


MALFORMED_REQUEST: Final = Code("malformed_request", 400, "The request cannot be read")
TWO_CREDENTIALS: Final = Code("two_credentials", 400, "The request has two Authorization headers")
INVALID_SUBJECT_TOKEN: Final = Code(
    "invalid_subject_token", 400, "The token of the user on whose behalf this is asked is not valid"
)
AUTHENTICATION_REQUIRED: Final = Code("authentication_required", 401, "Sign in first")
INVALID_TOKEN: Final = Code("invalid_token", 401, "The access token is not valid")
ACCOUNT_DISABLED: Final = Code("account_disabled", 403, "The account is disabled")
USER_REQUIRED: Final = Code("user_required", 403, "This needs a user's token, not a service's")
INSUFFICIENT_SCOPE: Final = Code("insufficient_scope", 403, "The token lacks the scope for this")
FORBIDDEN: Final = Code("forbidden", 403, "Your role does not allow this")
NOT_FOUND: Final = Code("not_found", 404, "There is nothing here")
METHOD_NOT_ALLOWED: Final = Code("method_not_allowed", 405, "This method is not offered here")
REQUEST_TIMEOUT: Final = Code("request_timeout", 408, "The request took too long to arrive")
LOG_PRUNED: Final = Code("log_pruned", 409, "The log does not go back so far")
REPLAY_FINISHED: Final = Code("replay_finished", 409, "The replay is done or cancelled")
TOO_MANY_REPLAYS: Final = Code("too_many_replays", 409, "Too many replays are unfinished")
NOT_CAUGHT_UP: Final = Code("not_caught_up", 409, "The change has not arrived here yet")
EXPORT_TOO_LARGE: Final = Code("export_too_large", 409, "There is too much to download at once")
BODY_TOO_LARGE: Final = Code("body_too_large", 413, "The request's body is too large")
INVALID_REQUEST: Final = Code("invalid_request", 422, "The request does not have the right form")
TOO_MANY_REQUESTS: Final = Code(
    "too_many_requests",
    429,
    "Too many requests",
    "https://iana.org/assignments/http-problem-types#quota-exceeded",
)
HEADERS_TOO_LARGE: Final = Code(
    "headers_too_large", 431, "The request's address or headers are too large"
)
INTERNAL: Final = Code("internal", 500, "Something went wrong on our side")
BUSY: Final = Code("busy", 503, "Too much to do at the moment")
UNAVAILABLE: Final = Code("unavailable", 503, "The service cannot answer at the moment")


class Problem(Exception):
    """An error to report to the caller.

    Parameters:
        code: which one, with its status.
        detail: one sentence about this occurrence; nothing secret, no e-mail address.
        headers: of the response, such as ``WWW-Authenticate`` or ``Retry-After``.
        errors: for each wrong field ``{"pointer": …, "detail": …}``.
        extra: further members of the document (RFC 9457 3.2), which the code's entry in
            ``docs/problems.md`` names.
    """

    def __init__(
        self,
        code: Code,
        detail: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(code.name)
        self.code = code
        self.detail = detail
        self.headers = headers or {}
        self.errors = errors or []
        self.extra = extra or {}

    def document(self) -> dict[str, Any]:
        """Return the members of the JSON object; ``instance`` names the current request."""
        document: dict[str, Any] = {
            **self.extra,
            "type": self.code.type,
            "title": self.code.title,
            "status": self.code.status,
            "code": self.code.name,
        }
        if (request := request_id.get()) is not None:
            document["instance"] = request_urn(request)
        if self.detail:
            document["detail"] = self.detail
        if self.errors:
            document["errors"] = self.errors
        return document
