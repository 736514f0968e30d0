"""The metadata document of this authorization server, over HTTP (RFC 8414)."""

from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from auth_service.context import Auth
from auth_service.services.model import SCOPES
from service_kit.http import problems
from service_kit.http.openapi import documented
from service_kit.http.problems import Problem

router = APIRouter(tags=["tokens"])

_CACHED: Final = {"Cache-Control": "public, max-age=300, must-revalidate"}


class MetadataBody(BaseModel):
    """What a client needs to know of this server.

    There is no authorization endpoint: users sign in through the service's own API.
    """

    issuer: str = Field(examples=["https://auth.example"])
    token_endpoint: str = Field(examples=["https://auth.example/oauth/token"])
    jwks_uri: str = Field(examples=["https://auth.example/.well-known/jwks.json"])
    revocation_endpoint: str = Field(examples=["https://auth.example/oauth/revoke"])
    introspection_endpoint: str = Field(examples=["https://auth.example/oauth/introspect"])
    grant_types_supported: tuple[str, ...] = ("client_credentials", "refresh_token")
    # `none`: a user's device sends only its refresh token.
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic", "none")
    revocation_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic", "none")
    introspection_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    scopes_supported: tuple[str, ...] = SCOPES
    response_types_supported: tuple[str, ...] = ()

    @classmethod
    def of(cls, issuer: str, address: str) -> Self:
        """Build the metadata of ``issuer``, whose endpoints are below ``address``."""
        return cls(
            issuer=issuer,
            token_endpoint=f"{address}/oauth/token",
            jwks_uri=f"{address}/.well-known/jwks.json",
            revocation_endpoint=f"{address}/oauth/revoke",
            introspection_endpoint=f"{address}/oauth/introspect",
        )


@router.get(
    "/.well-known/oauth-authorization-server",
    summary="Metadata of this authorization server (RFC 8414)",
)
async def get_metadata(auth: Auth, response: Response) -> MetadataBody:
    """Its endpoints, and what they support."""
    response.headers.update(_CACHED)
    return MetadataBody.of(auth.settings.issuer, auth.settings.address)


@router.get(
    "/.well-known/oauth-authorization-server/{path:path}",
    summary="Metadata for an issuer with a path (RFC 8414 3.1)",
    responses=documented(problems.NOT_FOUND),
)
async def get_metadata_of_path(
    path: Annotated[str, Path(description="path of the issuer's URL", examples=["tenant"])],
    auth: Auth,
    response: Response,
) -> MetadataBody:
    """The same metadata, where clients look for it if the issuer's URL has a path."""
    own = urlsplit(auth.settings.issuer).path.strip("/")
    if not own or path.strip("/") != own:
        raise Problem(problems.NOT_FOUND)
    return await get_metadata(auth, response)
