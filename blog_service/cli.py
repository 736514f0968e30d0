"""Run and operate the blog service."""

from typing import TYPE_CHECKING

from blog_service.exports import commands as exports
from replica.commands import commands
from service_kit.process.terminal import failing_with_a_sentence

if TYPE_CHECKING:
    from blog_service.settings import ApiSettings
    from replica.service import Service

# Commands import what they need when they run, so that help comes at once; a test checks that.


def _service() -> "Service":
    from blog_service.replica_of_users import SERVICE

    return SERVICE


def _api_settings() -> "type[ApiSettings]":
    from blog_service.settings import ApiSettings

    return ApiSettings


app = commands(
    "blog-service",
    _service,
    prefix="BLOG_",
    description=__doc__,
    users=exports.app,
    api=_api_settings,
)


@app.command(epilog="Example: BLOG_PORT=8002 blog-service api")
@failing_with_a_sentence
def api() -> None:
    """Serve the blog over HTTP."""
    from blog_service.app import create_app
    from blog_service.settings import ApiSettings
    from service_kit.processes import serve_api, start

    settings = start(ApiSettings, "api")
    serve_api(create_app(settings), settings)
