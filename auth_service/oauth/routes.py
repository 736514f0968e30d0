"""The OAuth endpoints over HTTP: tokens, introspection, revocation.

Not here: metadata (``metadata``), keys (``tokens``), sign-in (``sessions``).
``grant_type=password`` is not supported (RFC 9700 2.4).
"""

from typing import Any, Final

from fastapi import APIRouter, Response

from auth_service.oauth.bodies import (
    INTROSPECTION_FORM,
    REVOCATION_FORM,
    TOKEN_FORM,
    IntrospectionBody,
    TokenBody,
)
from auth_service.oauth.client import Client, CurrentClient
from auth_service.oauth.errors import REFUSED, OAuthError
from auth_service.oauth.grants import client_credentials, refresh_token
from auth_service.oauth.introspect import introspect
from auth_service.oauth.revoke import revoke
from auth_service.sessions.responses import NO_STORE
from auth_service.throttle.network import network_charges
from service_kit.http import problems
from service_kit.http.openapi import documented

router = APIRouter(prefix="/oauth", tags=["oauth"])

GRANTS: Final = {"client_credentials": client_credentials, "refresh_token": refresh_token}

RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    **documented(problems.TOO_MANY_REQUESTS),
    **REFUSED,
}


@router.post(
    "/token",
    summary="Get an access token (RFC 6749)",
    response_model_exclude_none=True,
    responses=RESPONSES,
    openapi_extra=TOKEN_FORM,
)
async def post_token(client: CurrentClient, response: Response) -> TokenBody:
    """Issue a token for a service's API key (HTTP Basic) or for a refresh token."""
    grant_type = client.form.get("grant_type")
    if grant_type is None:
        raise OAuthError("invalid_request", "grant_type is missing")
    if (grant := GRANTS.get(grant_type)) is None:
        raise OAuthError(
            "unsupported_grant_type", f"use one of the grant types {', '.join(GRANTS)}"
        )
    token, headers = await grant(client)
    response.headers.update({**NO_STORE, **headers})
    return token


@router.post(
    "/introspect",
    summary="Introspect an access token (RFC 7662)",
    response_model_exclude_none=True,
    responses=RESPONSES,
    openapi_extra=INTROSPECTION_FORM,
)
async def post_introspect(client: CurrentClient, response: Response) -> IntrospectionBody:
    """Return its claims, or ``active: false`` alone. For services only, by HTTP Basic."""
    _, headers = await client.service("introspect", client.auth.settings.limit_introspect)
    response.headers.update({**NO_STORE, **headers})
    return await introspect(client.auth, _token(client))


@router.post(
    "/revoke",
    summary="Revoke a token (RFC 7009)",
    response_class=Response,
    responses=RESPONSES,
    openapi_extra=REVOCATION_FORM,
)
async def post_revoke(client: CurrentClient) -> Response:
    """End the session of a refresh or access token; 200 even if the token is invalid."""
    token = _token(client)
    if client.credentials is None:
        client.require_first_party()
        charges = network_charges("revoke", client.network, client.auth.settings.limit_token)
        headers = await client.auth.throttle.spend(*charges)
    else:
        _, headers = await client.service("revoke")
    await revoke(client.auth, token)
    return Response(headers={**NO_STORE, **headers})


def _token(client: Client) -> str:
    token = client.form.get("token")
    if token is None:
        raise OAuthError("invalid_request", "token is missing")
    return token
