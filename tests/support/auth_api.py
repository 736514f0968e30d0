"""The auth API running inside a test, and helpers to call it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.app import create_app
from auth_service.settings import ApiSettings
from service_kit.http.problems import MEDIA_TYPE
from tests.support.inbox import execute

PASSWORD = "heron lantern gravel sonnet"

MEMBERS = {"type", "title", "status", "code", "instance", "detail", "errors", "violated-policies"}
"""The members that a problem document may have."""


@asynccontextmanager
async def serving(settings: ApiSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API, which runs in this process."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://auth.test") as client,
    ):
        yield client


async def signed_up(api: httpx.AsyncClient, email: str) -> dict[str, Any]:
    answer = await api.post("/v1/signup", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def made_admin(engine: AsyncEngine, signed_in: Mapping[str, Any]) -> None:
    """Give a user the role in the database, as if they had it before the test."""
    user_id = signed_in["user"]["id"]
    await execute(engine, f"UPDATE users SET roles = '{{admin}}' WHERE id = '{user_id}'")


def bearer(signed_in: Mapping[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {signed_in['access_token']}"}


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Assert that the response is a problem document with that code, and return it."""
    document: dict[str, Any] = answer.json()
    assert answer.status_code == status, document
    assert answer.headers["Content-Type"] == MEDIA_TYPE
    assert (document["status"], document["code"]) == (status, code)
    assert {"type", "title", "instance"} <= document.keys() <= MEMBERS
    return document
