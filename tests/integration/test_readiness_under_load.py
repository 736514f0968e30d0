"""An API whose requests hold all its connections to the database still says that it is ready.

It works as well as it can: a proxy that took it out would send its requests to the others, and
these would be next.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import httpx
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

import auth_service.app
import auth_service.settings
import blog_service.app
import blog_service.settings
from tests.support.auth_api import PASSWORD
from tests.support.blog_api import a_token
from tests.support.builders import SOURCE
from tests.support.database_sessions import holding
from tests.support.http_server import served
from tests.support.locks import until_waiting

CONNECTIONS = 3
CROWD = 20 * CONNECTIONS
"""Requests at once. Each waits for a lock or for a connection, longer than a probe may take."""

PROBES = 5
SECONDS_MAX = 1.0


async def probed(
    app: FastAPI, engine: AsyncEngine, table: str, crowd: Sequence[Mapping[str, Any]]
) -> None:
    """Probe the API while a crowd's requests (``httpx.request``) need a table that is locked."""
    with served(app) as server:
        async with (
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{server.port}",
                trust_env=False,
                timeout=60,
                limits=httpx.Limits(max_connections=None),
            ) as client,
            asyncio.TaskGroup() as group,
            holding(engine, f"LOCK TABLE {table}"),
        ):
            for request in crowd:
                group.create_task(client.request("POST", **request))
            await until_waiting(engine, CONNECTIONS)
            seconds = sorted([await _ready(client) for _ in range(PROBES)])
    assert seconds[PROBES // 2] < SECONDS_MAX, seconds


async def _ready(client: httpx.AsyncClient) -> float:
    began = time.monotonic()
    found = await client.get("/readyz")
    assert found.status_code == 200, found.text
    return time.monotonic() - began


async def test_the_auth_api_is_ready_while_sign_ins_hold_all_connections(
    auth_engine: AsyncEngine, auth_url: str, private_pem: str
) -> None:
    settings = auth_service.settings.ApiSettings(
        _env_file=None,
        database_url=auth_url,
        private_key=private_pem,
        issuer=SOURCE,
        database_connections_max=CONNECTIONS,
        limit_signin="1000/60",
    )
    crowd = [
        {"url": "/v1/signin", "json": {"email": f"{n}@example.org", "password": PASSWORD}}
        for n in range(CROWD)
    ]
    await probed(auth_service.app.create_app(settings), auth_engine, "users", crowd)


async def test_the_blog_is_ready_while_writers_hold_all_connections(
    blog_engine: AsyncEngine, blog_url: str, public_pem: str, signing_key: rsa.RSAPrivateKey
) -> None:
    settings = blog_service.settings.ApiSettings(
        _env_file=None,
        database_url=blog_url,
        public_key=public_pem,
        issuer=SOURCE,
        database_connections_max=CONNECTIONS,
    )
    headers = {"Authorization": f"Bearer {a_token(signing_key, uuid4())}"}
    post = {"title": "A post", "body": "And its body"}
    crowd = [{"url": "/v1/posts", "json": post, "headers": headers}] * CROWD
    await probed(blog_service.app.create_app(settings), blog_engine, "posts", crowd)
