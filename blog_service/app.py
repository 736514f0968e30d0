"""Build the API from its settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from blog_service import web
from blog_service.comments import routes as comments
from blog_service.context import Context
from blog_service.posts import routes as posts
from blog_service.profiles import routes as profiles
from blog_service.settings import ApiSettings
from blog_service.users import routes as users
from contracts.tokens import FixedKeys, TokenVerifier
from contracts.tokens.jwks_cache import JwksCache
from contracts.tokens.keys import jwks, public_key
from replica import console
from replica.parked import routes as parked
from replica.parked.model import NoSuchMessage
from replica.reconcile.due import why_degraded
from replica.replays import routes as replay_routes
from replica.replays.at_source import SILENCE_SECONDS_MAX
from replica.source_client import Account
from replica.status import metrics
from replica.status import routes as sync
from service_kit.database.away import require_writable
from service_kit.database.engines import pooled
from service_kit.database.reader import Reader
from service_kit.http import problems
from service_kit.http.app import new_app
from service_kit.http.probes import health_routes


class Degraded(Exception):
    """The replica may be incomplete, and BLOG_REFUSE_WHILE_DEGRADED is set."""


def create_app(settings: ApiSettings) -> FastAPI:
    """Build the blog API. It connects to its database and to the issuer's keys on first use.

    With keys in the cache, only requests about replays wait for another service, the source.
    While the replica may be incomplete (``reconcile.watch``), requests are served all the same,
    and ``/readyz`` reports it.
    """
    engine = pooled(settings)
    keys = _keys(settings)
    source = (
        Account(settings, silence_seconds=SILENCE_SECONDS_MAX) if settings.can_reconcile else None
    )

    async def ready() -> str | None:
        async with engine.connect() as connection:
            await require_writable(connection)
            degraded = await why_degraded(connection)
        await keys.ready()
        if degraded and settings.refuse_while_degraded:
            raise Degraded
        return degraded

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await keys.close()
        if source is not None:
            await source.close()
        await engine.dispose()

    app = new_app(
        "blog_service",
        "A blog with its own copy of the users it needs",
        settings=settings,
        refusals={NoSuchMessage: problems.NOT_FOUND},
        lifespan=lifespan,
    )
    app.state.context = Context(
        settings=settings,
        engine=engine,
        reader=Reader(
            engine,
            at_once=max(1, settings.database_connections_max // 2),
            wait_seconds=settings.statement_timeout_ms / 1000,
        ),
        verifier=keys,
        source=source,
    )
    app.include_router(posts.router)
    app.include_router(comments.router)
    app.include_router(profiles.router)
    app.include_router(users.router)
    app.include_router(parked.router)
    app.include_router(sync.router)
    app.include_router(replay_routes.router)

    app.router.routes.extend([*web.routes(settings), *console.routes(settings.auth_address)])
    app.router.routes.extend(health_routes(ready=ready, refresh=partial(metrics.refresh, engine)))
    return app


def _keys(settings: ApiSettings) -> JwksCache | FixedKeys:
    """Return the keys that verify tokens: the issuer's, starting with the configured key, or it."""
    given = jwks(public_key(settings.public_key)) if settings.public_key else None
    issuer, audience = settings.issuer, settings.audience
    if settings.jwks_url is not None:
        return JwksCache(settings.jwks_url, issuer=issuer, audience=audience, start=given)
    assert given is not None  # the settings demand one of the two
    return FixedKeys(TokenVerifier.from_jwks(given, issuer=issuer, audience=audience))
