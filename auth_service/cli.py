"""Run and operate the auth service."""

from typing import TYPE_CHECKING

import typer

from auth_service.accounts import commands as users
from auth_service.imports import commands as imports
from auth_service.outbox import commands as outbox
from auth_service.replays import commands as replays
from auth_service.restore import commands as restore
from auth_service.services import commands as services
from auth_service.tail import commands as tail
from auth_service.tokens import commands as keys
from service_kit.database.commands import on_database
from service_kit.process.load import load
from service_kit.process.program import program
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

    from auth_service.outbox.metrics import OutboxFigures
    from auth_service.settings import ApiSettings, DatabaseSettings, RelaySettings

# Commands import what they need when they run, so that help comes at once; a test checks that.


def _settings() -> "type[DatabaseSettings]":
    from auth_service.settings import DatabaseSettings

    return DatabaseSettings


def _api_settings() -> "type[ApiSettings]":
    from auth_service.settings import ApiSettings

    return ApiSettings


def _relay_settings() -> "type[RelaySettings]":
    from auth_service.settings import RelaySettings

    return RelaySettings


app = program(__doc__)
app.add_typer(tail.app, name="events")
app.add_typer(keys.app, name="keys")
app.add_typer(outbox.app, name="outbox")
app.add_typer(replays.app, name="replay")
app.add_typer(services.app, name="services")
app.add_typer(
    setting_commands(_settings, {"api": _api_settings, "relay": _relay_settings}), name="settings"
)
app.add_typer(users.app, name="users")


@app.command(epilog="Example: AUTH_PORT=8001 auth-service api")
@failing_with_a_sentence
def api() -> None:
    """Serve sign-up, sign-in and accounts over HTTP."""
    from auth_service.app import create_app
    from auth_service.settings import ApiSettings
    from service_kit.processes import serve_api, start

    settings = start(ApiSettings, "api")
    serve_api(create_app(settings), settings)


@app.command(epilog="Example: AUTH_AMQP_URL=amqp://localhost/ auth-service relay")
@failing_with_a_sentence
def relay() -> None:
    """Publish recorded events and replays to RabbitMQ.

    Any number of relays may run; one is active.
    """
    from auth_service.relay_process import run

    run()


@app.command(epilog="Example: auth-service status --check")
@failing_with_a_sentence
def status(as_json: AsJson = False, check: Check = False) -> None:
    """Show the outbox backlog and relay status."""
    import dataclasses

    from auth_service.outbox import metrics
    from auth_service.settings import StatusSettings

    async def read(engine: "AsyncEngine") -> "OutboxFigures":
        async with engine.connect() as connection:
            return await metrics.figures(connection, heartbeat_seconds=settings.heartbeat_seconds)

    with checked(is_asked_for=check):
        settings = load(StatusSettings)
        figures = on_database(settings, read)
        shown = dataclasses.asdict(figures)
        if not as_json:
            shown["queues"] = ", ".join(map(str, figures.queues)) or None
        show(shown, as_json=as_json)
    if check:
        raise typer.Exit(health(figures.pipe, needs_attention=figures.clock is not None))


users.app.command("import", epilog=imports.EXAMPLE)(imports.import_users)
app.command("restored", epilog=restore.EXAMPLE)(restore.restored)
