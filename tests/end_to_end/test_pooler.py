"""Both APIs through pgbouncer in transaction mode, and everything else at PostgreSQL itself."""

import asyncio
from uuid import uuid4

import httpx

from local.postgres_server import PostgresServer
from tests.support.auth_api import PASSWORD, bearer, signed_up
from tests.support.eventually import eventually
from tests.support.hostile import SHORT, set_on_role
from tests.support.pgbouncer import pgbouncer
from tests.support.system import COMMANDS, System
from tests.support.whole import running

PEOPLE = 12


async def test_requests_through_a_pooler_succeed(postgres: PostgresServer, system: System) -> None:
    """Despite short limits of the roles no request fails, and both tables agree in the end."""
    urls = system.auth_url, system.blog_url
    with (
        pgbouncer(postgres) as bouncer,
        set_on_role(postgres, urls[0], SHORT),
        set_on_role(postgres, urls[1], SHORT),
    ):
        settings = {
            "AUTH_DATABASE_URL": bouncer.url(urls[0]),
            "AUTH_DATABASE_DIRECT_URL": urls[0],
            "BLOG_DATABASE_URL": bouncer.url(urls[1]),
            "BLOG_DATABASE_DIRECT_URL": urls[1],
        }
        async with running(system, AUTH_HEARTBEAT_SECONDS=0.25, **settings) as whole:
            auth_api, _, blog_api, _ = (whole.processes[command] for command in COMMANDS)
            async with auth_api.client() as auth, blog_api.client() as blog:
                await asyncio.gather(*(_live(auth, blog) for _ in range(PEOPLE)))
            await eventually(whole.agrees)
            await eventually(whole.is_proved)
            code, printed = await whole.command("blog-service reconcile")
            assert code == 0, printed


async def _live(auth: httpx.AsyncClient, blog: httpx.AsyncClient) -> None:
    """Sign up, read and write at the blog, sign in again, and leave."""
    body = await signed_up(auth, f"{uuid4().hex}@example.org")
    headers = bearer(body)
    post = {"title": "Through a pooler", "body": "It lends a session for one transaction."}
    for response in (
        await blog.get("/v1/me", headers=headers),
        await blog.patch("/v1/me", headers=headers, json={"display_name": "Ada"}),
        await blog.post("/v1/posts", headers=headers, json=post),
        await blog.get("/v1/posts"),
        await auth.get("/v1/me", headers=headers),
        await auth.post("/v1/signin", json={"email": body["user"]["email"], "password": PASSWORD}),
        await auth.request("DELETE", "/v1/me", headers=headers, json={"password": PASSWORD}),
    ):
        assert response.is_success, (response.request.url.path, response.text)
