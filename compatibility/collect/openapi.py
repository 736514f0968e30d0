"""Make the OpenAPI documents of both services."""

from functools import cache
from typing import Any

import auth_service.app
import auth_service.settings
import blog_service.app
import blog_service.settings

_ISSUER = "https://auth.example"
_DATABASE_URL = "postgresql://localhost/nothing"
"""An application connects on its first request, and none is made."""


@cache
def documents() -> dict[str, dict[str, Any]]:
    """Return the documents by the name of the service."""
    auth = auth_service.settings.ApiSettings(
        _env_file=None,
        database_url=_DATABASE_URL,
        issuer=_ISSUER,
        secret="a secret that encrypts nothing here",  # noqa: S106
    )
    blog = blog_service.settings.ApiSettings(
        _env_file=None,
        database_url=_DATABASE_URL,
        issuer=_ISSUER,
        jwks_url=f"{_ISSUER}/.well-known/jwks.json",
    )
    apps = (auth_service.app.create_app(auth), blog_service.app.create_app(blog))
    return {app.title: app.openapi() for app in apps}
