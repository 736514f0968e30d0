"""The API's composition root: settings in, application out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from auth_service.accounts import admin_routes as administration
from auth_service.accounts import link_routes as links
from auth_service.accounts import routes as accounts
from auth_service.accounts import view_routes as views
from auth_service.accounts.mail_causes import note_request_networks
from auth_service.audit import routes as audit
from auth_service.context import Context
from auth_service.mail import page
from auth_service.mail.links import InvalidLink
from auth_service.mail.sender import MailSender
from auth_service.oauth import errors as oauth_errors
from auth_service.oauth import metadata
from auth_service.oauth import routes as oauth
from auth_service.outbox import metrics
from auth_service.outbox import routes as outbox
from auth_service.problems import (
    EMAIL_TAKEN,
    INVALID_CREDENTIALS,
    INVALID_EMAIL,
    INVALID_LINK,
    KEY_CHANGE_REFUSED,
    LAST_ADMINISTRATOR,
    SERVICE_NAME_TAKEN,
    TOO_MANY_KEYS,
    VERSIONS_EXHAUSTED,
    WEAK_PASSWORD,
    WRONG_PASSWORD,
)
from auth_service.reconcile import routes as reconcile
from auth_service.reconcile.snapshot import Snapshots
from auth_service.replays import routes as replays
from auth_service.replays.model import (
    InvalidReplay,
    LogPruned,
    NoSuchReplay,
    ReplayFinished,
    TooManyReplays,
)
from auth_service.services import routes as services
from auth_service.services.model import (
    BadServiceName,
    NoSuchApiKey,
    NoSuchService,
    ServiceNameTaken,
    TooManyApiKeys,
)
from auth_service.sessions import routes as sessions
from auth_service.sessions.bearer import ADMINISTRATORS_ONLY, administrator
from auth_service.sessions.confirm import SessionOver
from auth_service.sessions.sign_in import WrongCredentials
from auth_service.settings import ApiSettings
from auth_service.tail import routes as tail
from auth_service.tail.read import OutboxReader
from auth_service.throttle.throttle import Throttle, TooManyRequests
from auth_service.tokens import admin_routes as signing_keys
from auth_service.tokens import routes as tokens
from auth_service.tokens.keyring import KeyRing, NoSigningKey
from auth_service.tokens.model import KeyRefusal, NoSuchKey
from auth_service.users.model import (
    AccountDisabled,
    BadEmail,
    EmailTaken,
    LastAdministrator,
    NoAdministrator,
    NoSuchUser,
    VersionsExhausted,
    WrongPassword,
)
from auth_service.users.password_policy import WeakPassword
from auth_service.users.passwords import HashingBusy, Passwords
from contracts.tokens import KeysUnavailable
from service_kit.database.engines import aside, autocommitting, pooled
from service_kit.http import problems
from service_kit.http.app import add_routers, new_app
from service_kit.http.bearer import invalid_token
from service_kit.http.downloads import Downloads
from service_kit.http.errors import Refusals
from service_kit.http.openapi import documented
from service_kit.http.probes import health_routes
from service_kit.http.problems import Problem
from service_kit.http.setting_routes import setting_routes
from service_kit.http.tails.hub import Tails
from service_kit.process.tasks import end_tasks

REFUSALS: Refusals = {
    AccountDisabled: problems.ACCOUNT_DISABLED,
    BadEmail: INVALID_EMAIL,
    InvalidReplay: lambda error: Problem(problems.INVALID_REQUEST, str(error)),
    BadServiceName: lambda error: Problem(problems.INVALID_REQUEST, str(error)),
    EmailTaken: EMAIL_TAKEN,
    InvalidLink: INVALID_LINK,
    LastAdministrator: LAST_ADMINISTRATOR,
    NoAdministrator: problems.FORBIDDEN,
    LogPruned: lambda error: Problem(problems.LOG_PRUNED, str(error)),
    NoSuchApiKey: problems.NOT_FOUND,
    NoSuchKey: problems.NOT_FOUND,
    KeyRefusal: lambda error: Problem(KEY_CHANGE_REFUSED, str(error)),
    NoSuchReplay: problems.NOT_FOUND,
    NoSuchService: problems.NOT_FOUND,
    NoSuchUser: problems.NOT_FOUND,
    ReplayFinished: lambda error: Problem(problems.REPLAY_FINISHED, str(error)),
    ServiceNameTaken: SERVICE_NAME_TAKEN,
    SessionOver: lambda _: invalid_token(),
    TooManyApiKeys: TOO_MANY_KEYS,
    TooManyReplays: problems.TOO_MANY_REPLAYS,
    VersionsExhausted: VERSIONS_EXHAUSTED,
    WrongPassword: WRONG_PASSWORD,
    WeakPassword: lambda error: Problem(WEAK_PASSWORD, str(error)),
    WrongCredentials: INVALID_CREDENTIALS,
    HashingBusy: problems.BUSY,
    TooManyRequests: TooManyRequests.problem,
    KeysUnavailable: problems.UNAVAILABLE,
    NoSigningKey: problems.UNAVAILABLE,
}


def create_app(settings: ApiSettings) -> FastAPI:
    """Create the auth API, which connects to its database on first use, and never to the broker."""
    engine, beside_requests = pooled(settings), aside(settings)
    secrets = settings.secrets
    context = Context(
        settings=settings,
        engine=engine,
        reads=autocommitting(engine),
        beside_requests=beside_requests,
        secrets=secrets,
        passwords=Passwords(
            threads=settings.hashing_threads,
            waiting_max=settings.hashing_waiting_max,
            firebase_signer_key=settings.firebase_key,
        ),
        keys=KeyRing(beside_requests, settings),
        throttle=Throttle(engine, secrets),
        mail=MailSender(engine, settings) if settings.can_mail else None,
        snapshots=Snapshots(settings),
        downloads=Downloads(),
        tails=Tails(partial(OutboxReader.start, engine), settings),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sending = asyncio.create_task(context.mail.run()) if context.mail else None
        yield
        if sending is not None:
            await end_tasks(sending)
        await context.tails.close()
        context.passwords.close()
        await context.disconnect()

    app = new_app(
        "auth_service",
        "Sign-up, sign-in and accounts; the source of truth about users",
        settings=settings,
        refusals=REFUSALS,
        lifespan=lifespan,
    )
    app.state.context = context
    app.add_exception_handler(oauth_errors.OAuthError, oauth_errors.error_response)
    app.add_middleware(note_request_networks, context=context)
    add_routers(
        app,
        accounts.router,
        administration.router,
        views.router,
        audit.router,
        sessions.router,
        tokens.router,
        signing_keys.router,
        services.router,
        outbox.router,
        tail.router,
        replays.router,
        reconcile.router,
        oauth.router,
        links.router,
        metadata.router,
        setting_routes(
            settings, administrator=administrator, responses=documented(*ADMINISTRATORS_ONLY)
        ),
    )
    app.router.routes.extend(page.routes())
    app.router.routes.extend(
        health_routes(ready=context.ready, refresh=partial(metrics.refresh, engine))
    )
    return app
