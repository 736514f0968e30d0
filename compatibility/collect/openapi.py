"""Make the OpenAPI documents of both services."""

from functools import cache
from typing import Any, Final, TypeVar, cast

from pydantic import SecretStr

import auth_service.app
import auth_service.settings
import blog_service.app
import blog_service.settings
from service_kit.process.settings import ServiceSettings

_ISSUER: Final = "https://auth.example"
_DATABASE_URL: Final = "postgresql+asyncpg://localhost/nothing"
"""An application connects on its first request, and none is made."""

Settings = TypeVar("Settings", bound=ServiceSettings)


@cache
def documents() -> dict[str, dict[str, Any]]:
    """Return the documents by the name of the service."""
    auth = _unchecked(
        auth_service.settings.ApiSettings,
        database_url=_DATABASE_URL,
        issuer=_ISSUER,
        secret=SecretStr("a secret that encrypts nothing here"),
    )
    blog = _unchecked(
        blog_service.settings.ApiSettings,
        database_url=_DATABASE_URL,
        issuer=_ISSUER,
        jwks_url=f"{_ISSUER}/.well-known/jwks.json",
    )
    apps = (auth_service.app.create_app(auth), blog_service.app.create_app(blog))
    return {app.title: app.openapi() for app in apps}


def _unchecked(model: type[Settings], **values: Any) -> Settings:
    """Make settings that nothing is read into from the environment.

    A new setting that is required stays empty: the comparison reports it, so it must not fail here.
    """
    required = {name: "" for name, field in model.model_fields.items() if field.is_required()}
    return cast(Settings, model.model_construct(**required | values))
