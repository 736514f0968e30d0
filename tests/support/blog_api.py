"""The blog's API inside a test, and tokens for it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from blog_service.app import create_app
from blog_service.settings import ApiSettings
from contracts.tokens.keys import jwk
from tests.support.builders import SOURCE


@asynccontextmanager
async def blog_api(settings: ApiSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the real application, without a socket between."""
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://blog.example",
        ) as client,
    ):
        yield client


def metric(text: str, line: str) -> float:
    """The value of a metric, named with its labels."""
    [value] = [each.split()[-1] for each in text.splitlines() if each.startswith(f"{line} ")]
    return float(value)


def a_token(key: rsa.RSAPrivateKey, subject: UUID | str, **claims: Any) -> str:
    """An access token for a user or a service, good for a minute unless ``claims`` differ."""
    now = claims.get("iat", int(time.time()))
    sub = str(subject)
    values = {
        "iss": SOURCE,
        "aud": "blog",
        "sub": sub,
        "client_id": sub if sub.startswith("svc_") else "first_party",
        "iat": now,
        "exp": now + 60,
        "jti": str(uuid4()),
        **claims,
    }
    header = {"typ": "at+jwt", "kid": jwk(key.public_key())["kid"]}
    return jwt.encode(values, key, algorithm="RS256", headers=header)
