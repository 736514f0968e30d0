"""The settings of an API in force, over HTTP for administrators."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from service_kit.http.pagination import Page
from service_kit.process.settings import ServiceSettings
from service_kit.process.settings_in_force import Origin, settings_in_force


class SettingBody(BaseModel):
    """One setting of this process."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(description="its variable", examples=["AUTH_ACCESS_TOKEN_SECONDS"])
    value: str | None = Field(
        description="as in the environment, null if not set; secrets and passwords are masked",
        examples=["900"],
    )
    origin: Origin
    is_secret: bool


def setting_routes(
    settings: ServiceSettings,
    *,
    administrator: Callable[..., Awaitable[object]],
    responses: Mapping[int | str, dict[str, Any]],
) -> APIRouter:
    """Make the routes for the settings with which this process has started.

    Parameters:
        settings: of the process.
        administrator: a dependency that refuses everyone but administrators.
        responses: with which it does so.
    """
    router = APIRouter(prefix="/v1/admin", tags=["administration"])
    items = [SettingBody.model_validate(each) for each in settings_in_force(settings)]

    @router.get(
        "/settings",
        summary="List the settings in force",
        dependencies=[Depends(administrator)],
        responses=dict(responses),
    )
    async def get_settings() -> Page[SettingBody]:
        """All settings of this process since its start, by name, and where each came from."""
        return Page(items=items, next_cursor=None)

    return router
