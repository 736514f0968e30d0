"""Errors of the OAuth endpoints, in the form of RFC 6749 5.2 that their clients expect.

Not here: errors that any request may get (too many, too large, database unavailable). Those are
problem documents, as everywhere.
"""

from typing import Any, Final, Literal

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from auth_service.sessions.responses import NO_STORE
from service_kit.http.product import PRODUCT

ErrorCode = Literal[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "unsupported_token_type",
]
"""RFC 6749 5.2, and RFC 7009 2.2.1 for the last one."""

CHALLENGE: Final = {"WWW-Authenticate": f'Basic realm="{PRODUCT}"'}


class OAuthError(Exception):
    """The request is refused.

    Parameters:
        error: the code for programs.
        description: for people; ASCII without quotes and backslashes (RFC 6749 5.2).
    """

    def __init__(self, error: ErrorCode, description: str) -> None:
        super().__init__(error)
        self.error = error
        self.description = description


class OAuthErrorBody(BaseModel):
    """An error (RFC 6749 5.2)."""

    error: ErrorCode = Field(examples=["invalid_request"])
    error_description: str = Field(examples=["grant_type is missing"])


def invalid_client() -> OAuthError:
    """The one error for failed authentication; nobody is told what is wrong."""
    return OAuthError(
        "invalid_client", "send the id of a service account and its API key by HTTP Basic"
    )


async def error_response(_: Request, error: Exception) -> JSONResponse:
    """The response to a request that was refused with an ``OAuthError``."""
    assert isinstance(error, OAuthError)
    is_client = error.error == "invalid_client"
    body = OAuthErrorBody(error=error.error, error_description=error.description)
    return JSONResponse(
        body.model_dump(),
        401 if is_client else 400,
        {**NO_STORE, **(CHALLENGE if is_client else {})},
    )


REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": OAuthErrorBody},
    401: {
        "model": OAuthErrorBody,
        "description": "Not the API key of this service account",
        "headers": {"WWW-Authenticate": {"$ref": "#/components/headers/WWW-Authenticate"}},
    },
}
"""For the ``responses`` of a route."""
