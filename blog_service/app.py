"""The API's composition root: settings in, application out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator

from blog_service.context import Context
from blog_service.db import ask, connect
from blog_service.inbox import metrics
from blog_service.settings import ApiSettings
from blog_service.users import routes as users
from contracts.health import health_routes
from contracts.http_errors import LimitedBody, answer_with_problems
from contracts.keys import jwks, public_key
from contracts.telemetry import traced
from contracts.tokens import TokenVerifier


def create_app(settings: ApiSettings) -> FastAPI:
    """The blog API; it connects to its database when first asked, and never to another service."""
    engine = connect(settings)
    verifier = TokenVerifier.from_jwks(
        jwks(public_key(settings.public_key)), issuer=settings.issuer, audience=settings.audience
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    app = FastAPI(
        title="blog_service",
        summary="A blog with its own copy of the users it needs",
        version="1",
        lifespan=lifespan,
        openapi_url="/openapi.json" if settings.docs else None,
        # FastAPI's own telemetry records exception messages, which may quote data.
        telemetry={"tracing": False},
    )
    app.state.context = Context(engine=engine, verifier=verifier)
    app.add_middleware(LimitedBody, bytes_max=settings.body_bytes_max)
    app.add_middleware(traced)
    answer_with_problems(app, {})
    app.include_router(users.router)

    app.router.routes.extend(
        health_routes(ready=partial(ask, engine), refresh=partial(metrics.refresh, engine))
    )
    Instrumentator(excluded_handlers=["/livez", "/readyz", "/metrics"]).instrument(app)
    return app
