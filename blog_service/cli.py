"""Run and operate the blog service."""

from typing import TYPE_CHECKING, Any

import typer

from replica.parked import commands as parked
from replica.reconcile.commands import reconcile
from service_kit.database.commands import on_database
from service_kit.process.load import load
from service_kit.process.setting_commands import setting_commands
from service_kit.process.terminal import (
    AsJson,
    Check,
    checked,
    failing_with_a_sentence,
    health,
    show,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from blog_service.settings import DatabaseSettings

# Commands import what they need when they run, so that help comes at once; a test checks that.


def _settings() -> "type[DatabaseSettings]":
    from blog_service.settings import DatabaseSettings

    return DatabaseSettings


app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
app.add_typer(parked.app, name="parked")
app.add_typer(setting_commands(_settings), name="settings")


app.command(epilog="Example: blog-service reconcile --repair")(reconcile)


@app.command(epilog="Example: BLOG_PORT=8002 blog-service api")
@failing_with_a_sentence
def api() -> None:
    """Serve the blog over HTTP."""
    from blog_service.app import create_app
    from blog_service.settings import ApiSettings
    from service_kit.processes import serve_api, start

    settings = start(ApiSettings, "api")
    serve_api(create_app(settings), settings)


@app.command(epilog="Example: BLOG_AMQP_URL=amqp://localhost/ blog-service consumer")
@failing_with_a_sentence
def consumer() -> None:
    """Apply user events from the source to the replica."""
    from blog_service.consumer_process import run

    run()


@app.command(epilog="Example: blog-service status --check")
@failing_with_a_sentence
def status(as_json: AsJson = False, check: Check = False) -> None:
    """Show replica, queue and parked-message status."""
    import logging

    from blog_service.settings import StatusSettings
    from replica.status.model import needs_attention
    from replica.status.read import status as read_status

    logging.disable()  # failed attempts to reach the broker show as "-" in the figures

    async def read(engine: "AsyncEngine") -> dict[str, Any]:
        async with engine.connect() as connection:
            return await read_status(
                connection,
                settings.amqp_url,
                heartbeat_seconds_max=settings.heartbeat_seconds_max,
            )

    with checked(is_asked_for=check):
        settings = load(StatusSettings)
        figures = on_database(settings, read)
        show(figures, as_json=as_json)
    if check:
        raise typer.Exit(health(figures["pipe"], needs_attention=needs_attention(figures)))
