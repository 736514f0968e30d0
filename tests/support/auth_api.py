"""The auth API running inside a test, and helpers to call it."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.app import create_app
from auth_service.context import Context
from auth_service.secrets import Secrets
from auth_service.services.administer import create_service
from auth_service.services.model import IssuedKey
from auth_service.settings import ApiSettings, KeySettings
from service_kit.database.engines import pooled
from service_kit.http.problems import MEDIA_TYPE
from tests.support.database_roles import as_owner
from tests.support.eventually import eventually
from tests.support.inbox import OnDatabase, execute

ADA = "ada@example.org"
PASSWORD = "heron lantern gravel sonnet"
NEW_PASSWORD = "another battery for the horse"

Signed = dict[str, Any]
"""The response to a sign-up or sign-in."""

MEMBERS = {"type", "title", "status", "code", "instance", "detail", "errors", "violated-policies"}
"""The members that a problem document may have."""


class AuthApi(httpx.AsyncClient, OnDatabase):
    """A client of an auth API that runs in this process, which can also use its database.

    Parameters:
        network: the client's address.
    """

    def __init__(self, app: FastAPI, network: str = "127.0.0.1") -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(network, 123))
        super().__init__(transport=transport, base_url="http://auth.test")
        self.context: Context = app.state.context
        # As the owner of the tables in a test that ``serving`` serves, else as the API.
        self.engine: AsyncEngine = getattr(app.state, "owner", self.context.engine)

    async def ask(
        self, who: Signed | None, method: str, path: str, body: Any = None, **params: Any
    ) -> httpx.Response:
        """Send a request with a user's access token; None stands for no token."""
        headers = {} if who is None else bearer(who)
        return await self.request(method, path, json=body, headers=headers, params=params or None)

    async def create_service(self, name: str, *scopes: str) -> IssuedKey:
        """Create a service account with these scopes in the database."""
        return await _create(self.engine, self.context.secrets, name, scopes)

    async def service_token(
        self, issued: IssuedKey, *, key: str | None = None, **form: str
    ) -> httpx.Response:
        """Request a token with a service's API key, or with ``key`` instead of it."""
        auth = (issued.id, issued.api_key if key is None else key)
        form = {"grant_type": "client_credentials", **form}
        return await self.post("/oauth/token", data=form, auth=auth)

    async def sign_up(self, email: str = ADA) -> Signed:
        return await signed_up(self, email)

    async def sign_in(self, email: str = ADA, password: str = PASSWORD) -> httpx.Response:
        return await self.post("/v1/signin", json={"email": email, "password": password})

    async def refresh(self, token: str, **form: str) -> httpx.Response:
        """Use a refresh token as an OAuth client does."""
        form = {"grant_type": "refresh_token", "refresh_token": token, **form}
        return await self.post("/oauth/token", data=form)

    async def me(self, signed_in: Signed) -> httpx.Response:
        """Ask for the account of the access token."""
        return await self.ask(signed_in, "GET", "/v1/me")

    async def delete_me(self, signed_in: Signed, password: str = PASSWORD) -> httpx.Response:
        return await self.ask(signed_in, "DELETE", "/v1/me", {"password": password})

    async def change_password(
        self, signed_in: Signed, new: str, old: str = PASSWORD, **headers: str
    ) -> httpx.Response:
        return await self.post(
            "/v1/me/password",
            json={"current_password": old, "new_password": new},
            headers={**bearer(signed_in), **headers},
        )

    async def change_address(
        self, signed_in: Signed, email: str, password: str = PASSWORD
    ) -> httpx.Response:
        return await self.ask(signed_in, "PATCH", "/v1/me", {"email": email, "password": password})

    async def verify(self, token: str) -> httpx.Response:
        """Open a link that verifies the present address, or the pending one."""
        return await self.post("/v1/email/verify", json={"token": token})

    async def send_again(self, signed_in: Signed) -> httpx.Response:
        """Request another mail that verifies the address."""
        return await self.ask(signed_in, "POST", "/v1/me/email/verification")

    async def restore(self, token: str) -> httpx.Response:
        """Open a link that undoes a change of address."""
        return await self.post("/v1/email/restore", json={"token": token})

    async def forget(self, email: str = ADA) -> httpx.Response:
        return await self.post("/v1/password/forgot", json={"email": email})

    async def reset(self, token: str, password: str = NEW_PASSWORD) -> httpx.Response:
        form = {"token": token, "new_password": password}
        return await self.post("/v1/password/reset", json=form)

    async def until_sent(self) -> None:
        """Wait until no mail is queued."""

        async def none_waits() -> bool:
            return not await self.fetch("SELECT 1 FROM mails")

        await eventually(none_waits)


async def a_service_account(settings: KeySettings, name: str, *scopes: str) -> IssuedKey:
    """Do the same in the database of ``settings``."""
    engine = pooled(settings)
    try:
        return await _create(engine, settings.secrets, name, scopes)
    finally:
        await engine.dispose()


async def _create(
    engine: AsyncEngine, secrets: Secrets, name: str, scopes: Sequence[str]
) -> IssuedKey:
    given: dict[str, Any] = {"key_days": 90, "actor": "operator:test"}
    return await create_service(engine, secrets, name=name, scopes=scopes, **given)


@asynccontextmanager
async def serving(settings: ApiSettings) -> AsyncIterator[AuthApi]:
    """A client of the API, which runs in this process."""
    app = create_app(settings)
    app.state.owner = pooled(
        settings.model_copy(update={"database_url": as_owner(settings.database_url)})
    )
    async with app.router.lifespan_context(app), AuthApi(app) as client:
        yield client
    await app.state.owner.dispose()


async def signed_up(api: httpx.AsyncClient, email: str) -> dict[str, Any]:
    answer = await api.post("/v1/signup", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def made_admin(engine: AsyncEngine, signed_in: Signed) -> None:
    """Give a user the role in the database, as if they had it before the test."""
    user_id = signed_in["user"]["id"]
    await execute(engine, f"UPDATE users SET roles = '{{admin}}' WHERE id = '{user_id}'")


def bearer(signed_in: Signed) -> dict[str, str]:
    return {"Authorization": f"Bearer {signed_in['access_token']}"}


async def statuses(*asked: Awaitable[httpx.Response]) -> list[int]:
    """Send requests one after the other; return the statuses of the responses."""
    return [(await answer).status_code for answer in asked]


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Assert that the response is a problem document with that code, and return it."""
    document: dict[str, Any] = answer.json()
    assert answer.status_code == status, document
    assert answer.headers["Content-Type"] == MEDIA_TYPE
    assert (document["status"], document["code"]) == (status, code)
    assert {"type", "title", "instance"} <= document.keys() <= MEMBERS
    return document
