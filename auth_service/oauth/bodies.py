"""Responses of the OAuth endpoints, and their forms for the OpenAPI document."""

from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from auth_service.oauth.form import MEDIA_TYPE, PARAMETERS_MAX
from auth_service.services.model import SCOPES


class TokenBody(BaseModel):
    """An access token (RFC 6749 5.1); a service gets no refresh token, a user no scope."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a type, no secret
    expires_in: int = Field(description="seconds", examples=[600])
    scope: str | None = Field(None, examples=["posts:write"])
    refresh_token: str | None = Field(None, description="replaces the one that was sent")


class IntrospectionBody(BaseModel):
    """The state of a token (RFC 7662 2.2); ``active`` alone if it is not active."""

    active: bool
    iss: str | None = None
    sub: str | None = None
    client_id: str | None = None
    aud: str | None = None
    exp: int | None = None
    iat: int | None = None
    jti: str | None = None
    scope: str | None = None
    token_type: Literal["Bearer"] | None = None
    roles: list[str] | None = None
    sid: str | None = None
    auth_time: int | None = Field(None, description="when the user last gave their password")


def _form(*schemas: dict[str, Any], needs_service: bool) -> dict[str, Any]:
    """Build a route's ``openapi_extra``: its forms, and whether it needs a service's key."""
    schema = schemas[0] if len(schemas) == 1 else {"oneOf": list(schemas)}
    extra: dict[str, Any] = {
        "requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": schema}}},
    }
    # In addition to what the dependency requires: no credentials are needed.
    return extra if needs_service else {**extra, "security": [{}]}


def _parameters(**required: dict[str, Any]) -> dict[str, Any]:
    """Describe a form with these parameters; others are ignored, and none may come twice."""
    return {
        "type": "object",
        "properties": required,
        "required": list(required),
        "additionalProperties": {"type": "string"},
        "maxProperties": PARAMETERS_MAX,
    }


_TOKEN: Final = {"type": "string", "minLength": 1}
_SCOPE: Final = {
    "type": "string",
    "description": "some of the account's scopes, separated by spaces; all if omitted",
    "examples": [SCOPES[-1]],
}

_CLIENT_CREDENTIALS: Final = _parameters(grant_type={"const": "client_credentials"})
_CLIENT_CREDENTIALS["properties"]["scope"] = _SCOPE

TOKEN_FORM: Final = _form(
    _CLIENT_CREDENTIALS,
    _parameters(grant_type={"const": "refresh_token"}, refresh_token=_TOKEN),
    needs_service=False,
)
INTROSPECTION_FORM: Final = _form(_parameters(token=_TOKEN), needs_service=True)
REVOCATION_FORM: Final = _form(_parameters(token=_TOKEN), needs_service=False)
