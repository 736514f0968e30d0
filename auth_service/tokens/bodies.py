"""The metadata document of this authorization server (RFC 8414)."""

from typing import Self

from pydantic import BaseModel, Field

from auth_service.services.model import SCOPES


class MetadataBody(BaseModel):
    """What a client needs to know, and nothing that is not offered here.

    There is no authorization endpoint: users sign in at the service's own API.
    """

    issuer: str = Field(examples=["https://auth.example"])
    token_endpoint: str = Field(examples=["https://auth.example/oauth/token"])
    jwks_uri: str = Field(examples=["https://auth.example/.well-known/jwks.json"])
    revocation_endpoint: str = Field(examples=["https://auth.example/oauth/revoke"])
    introspection_endpoint: str = Field(examples=["https://auth.example/oauth/introspect"])
    grant_types_supported: tuple[str, ...] = ("client_credentials", "refresh_token")
    # `none`: a refresh token is all that a user's device has to show.
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic", "none")
    revocation_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic", "none")
    introspection_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    scopes_supported: tuple[str, ...] = SCOPES
    response_types_supported: tuple[str, ...] = ()

    @classmethod
    def of(cls, issuer: str, address: str) -> Self:
        """The metadata of ``issuer``, whose endpoints are below ``address``."""
        return cls(
            issuer=issuer,
            token_endpoint=f"{address}/oauth/token",
            jwks_uri=f"{address}/.well-known/jwks.json",
            revocation_endpoint=f"{address}/oauth/revoke",
            introspection_endpoint=f"{address}/oauth/introspect",
        )
