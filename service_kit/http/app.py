"""Make the FastAPI application of a service, with everything that each of ours has."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, FastAPI

from service_kit.http import middleware
from service_kit.http.api_docs import docs_routes
from service_kit.http.errors import Refusals
from service_kit.http.settings import HttpSettings

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def new_app(
    title: str,
    summary: str,
    *,
    settings: HttpSettings,
    refusals: Refusals,
    lifespan: Lifespan,
) -> FastAPI:
    """Make an application without routes of its own.

    Parameters:
        title: the service's name in the OpenAPI document.
        summary: what the service does, in one line.
        refusals: the service's own errors, each with its problem.
        lifespan: what to do before the first request and after the last.
    """
    app = FastAPI(
        title=title,
        summary=summary,
        version="1",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page loads scripts from elsewhere; ours does not
        redoc_url=None,
        # It records queries and exception messages, which may quote data; ours records neither
        # (``tracing``). Another variable of the environment would turn it on.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    middleware.install(
        app,
        refusals=refusals,
        cors_origins=settings.cors_origins,
        body_bytes_max=settings.body_bytes_max,
        body_seconds_max=settings.body_seconds_max,
    )
    if settings.docs:
        app.router.routes.extend(docs_routes(app.title))
    return app


def add_routers(app: FastAPI, *routers: APIRouter) -> None:
    """Add the routes of complete routers, as they are.

    ``include_router`` builds each route a second time to change its prefix or dependencies. That
    takes 60 ms at start, and a second look-up in each request.
    """
    for router in routers:
        app.router.routes.extend(router.routes)
