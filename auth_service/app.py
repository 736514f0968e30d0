"""The API's composition root: settings in, application out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator

from auth_service.context import Context
from auth_service.db import ask, connect
from auth_service.outbox import metrics
from auth_service.sessions import routes as sessions
from auth_service.sessions.sign_in import AccountDisabled, WrongCredentials
from auth_service.settings import ApiSettings
from auth_service.tokens import routes as tokens
from auth_service.tokens.sign import TokenSigner
from auth_service.users import routes as users
from auth_service.users.model import BadEmail, EmailTaken, NoSuchUser, WrongPassword
from auth_service.users.passwords import HashingBusy, Passwords
from contracts import problems
from contracts.health import health_routes
from contracts.http_errors import LimitedBody, answer_with_problems
from contracts.keys import jwks, private_key
from contracts.telemetry import traced
from contracts.tokens import TokenVerifier

REFUSALS = {
    BadEmail: problems.INVALID_EMAIL,
    EmailTaken: problems.EMAIL_TAKEN,
    NoSuchUser: problems.NOT_FOUND,
    WrongPassword: problems.WRONG_PASSWORD,
    WrongCredentials: problems.INVALID_CREDENTIALS,
    AccountDisabled: problems.ACCOUNT_DISABLED,
    HashingBusy: problems.BUSY,
}


def create_app(settings: ApiSettings) -> FastAPI:
    """The auth API; it connects to its database when first asked, and never to the broker."""
    key = private_key(settings.private_key.get_secret_value())
    public = jwks(key.public_key())
    engine = connect(settings)
    context = Context(
        engine=engine,
        passwords=Passwords(
            threads=settings.hashing_threads, waiting_max=settings.hashing_waiting_max
        ),
        signer=TokenSigner(
            key,
            issuer=settings.issuer,
            audience=settings.audience,
            lifetime_seconds=settings.access_token_seconds,
        ),
        verifier=TokenVerifier.from_jwks(
            public, issuer=settings.issuer, audience=settings.audience
        ),
        jwks=public,
        password_length_min=settings.password_length_min,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        context.passwords.close()
        await engine.dispose()

    app = FastAPI(
        title="auth_service",
        summary="Sign-up, sign-in and accounts; the source of truth about users",
        version="1",
        lifespan=lifespan,
        openapi_url="/openapi.json" if settings.docs else None,
        # FastAPI's own telemetry records exception messages, which may quote data.
        telemetry={"tracing": False},
    )
    app.state.context = context
    app.add_middleware(LimitedBody, bytes_max=settings.body_bytes_max)
    app.add_middleware(traced)
    answer_with_problems(app, REFUSALS)
    for router in (users.router, sessions.router, tokens.router):
        app.include_router(router)

    app.router.routes.extend(
        health_routes(ready=partial(ask, engine), refresh=partial(metrics.refresh, engine))
    )
    Instrumentator(excluded_handlers=["/livez", "/readyz", "/metrics"]).instrument(app)
    return app
