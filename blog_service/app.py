"""Build the API from its settings."""

from typing import Final

from fastapi import FastAPI

from blog_service import web
from blog_service.comments import routes as comments
from blog_service.context import Context
from blog_service.exports import routes as exports
from blog_service.pages import routes as pages
from blog_service.per_process_limit import PerProcessLimit
from blog_service.posts import routes as posts
from blog_service.previews import routes as previews
from blog_service.profiles import routes as profiles
from blog_service.rendering import Renderer
from blog_service.replica_of_users import USERS
from blog_service.settings import ApiSettings
from replica.api import REFUSALS, ReplicaApi
from service_kit.database.reader import Reader
from service_kit.http.app import add_routers, new_app
from service_kit.http.downloads import Downloads

SEARCHES_MAX: Final = 2
"""Searches at the same time, of each process: so that they leave connections to all else."""


def create_app(settings: ApiSettings) -> FastAPI:
    """Build the blog API: that of every service with a replica, with the blog's own routes."""
    api = ReplicaApi(USERS, settings)
    app = new_app(
        "blog_service",
        "A blog with its own copy of the users it needs",
        settings=settings,
        refusals=REFUSALS,
        lifespan=api.lifespan,
    )
    app.state.context = Context(
        replica=USERS,
        settings=settings,
        engine=api.engine,
        caught_up=api.caught_up,
        tails=api.tails,
        reader=Reader(
            api.engine,
            at_once=max(1, settings.database_connections_max // 2),
            wait_seconds=settings.statement_timeout_ms / 1000,
        ),
        # A search for words that many posts have, and few have together, takes as long as a
        # statement may.
        searcher=Reader(
            api.engine, at_once=SEARCHES_MAX, wait_seconds=settings.statement_timeout_ms / 1000
        ),
        downloads=Downloads(),
        renderer=Renderer(),
        export_limit=PerProcessLimit("exports", settings.limit_exports),
        preview_limit=PerProcessLimit("previews", settings.limit_previews),
        verifier=api.verifier,
        source=api.source,
    )
    add_routers(
        app, posts.router, comments.router, previews.router, profiles.router, exports.router
    )
    api.add_routes(app)
    app.router.routes.extend([*pages.routes(settings), *web.routes(settings)])
    return app
