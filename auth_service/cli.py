"""The command ``auth-service``: its processes and what operators ask of it."""

import asyncio
import dataclasses
from functools import partial

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.accounts import commands as users
from auth_service.outbox import commands as outbox
from auth_service.outbox import metrics
from auth_service.outbox.clock import LATEST
from auth_service.outbox.prune import prune_hourly
from auth_service.outbox.readiness import ready as is_ready
from auth_service.outbox.relay import Relay
from auth_service.outbox.watch_queues import watch_queues
from auth_service.replays import commands as replays
from auth_service.replays.replayer import Replayer
from auth_service.restore import commands as restore
from auth_service.services import commands as services
from auth_service.settings import ApiSettings, DatabaseSettings, RelaySettings, StatusSettings
from auth_service.tokens import commands as keys
from service_kit.database.clock import watch as watch_clock
from service_kit.database.commands import on_database, require_suitable
from service_kit.database.engines import pooled
from service_kit.http.probes import health_routes
from service_kit.http.serving import serve, serve_beside
from service_kit.process.setting_commands import setting_commands, warn_of_unknown
from service_kit.process.settings import load
from service_kit.process.telemetry import configure_logging
from service_kit.process.terminal import (
    AsJson,
    Check,
    checked,
    failing_with_a_sentence,
    health,
    show,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
app.add_typer(keys.app, name="keys")
app.add_typer(outbox.app, name="outbox")
app.add_typer(replays.app, name="replay")
app.add_typer(services.app, name="services")
app.add_typer(setting_commands(DatabaseSettings), name="settings")
app.add_typer(users.app, name="users")


@app.command(epilog="Example: AUTH_PORT=8001 auth-service api")
@failing_with_a_sentence
def api() -> None:
    """Serve sign-up, sign-in and accounts over HTTP."""
    # Imported here, because the other processes need neither its time nor its memory.
    from auth_service.app import create_app

    settings = load(ApiSettings)
    configure_logging("auth-service api")
    warn_of_unknown(DatabaseSettings)
    require_suitable(settings)
    serve(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        setting="AUTH_PORT",
        trusted_proxies=settings.trusted_proxies,
    )


@app.command(epilog="Example: AUTH_AMQP_URL=amqp://localhost/ auth-service relay")
@failing_with_a_sentence
def relay() -> None:
    """Publish recorded events to RabbitMQ, and replays; any number may run, one is active."""
    settings = load(RelaySettings)
    configure_logging("auth-service relay")
    warn_of_unknown(DatabaseSettings)
    require_suitable(settings)
    engine = pooled(settings)
    relaying = Relay(settings)
    ready = partial(is_ready, relaying, engine, heartbeat_seconds=settings.heartbeat_seconds)
    serve_beside(
        _relaying(relaying, settings, engine),
        health_routes(ready=ready, refresh=partial(metrics.refresh, engine)),
        host=settings.host,
        port=settings.relay_port,
        setting="AUTH_RELAY_PORT",
    )


async def _relaying(relaying: Relay, settings: RelaySettings, engine: AsyncEngine) -> None:
    """All that the process does, each part on connections of its own."""
    # A gathering passes every cancellation on, so that one which a part lost is repeated.
    await asyncio.gather(
        relaying.run(),
        Replayer(settings).run(),
        prune_hourly(settings),
        watch_clock(engine, LATEST),
        watch_queues(settings),
    )


@app.command(epilog="Example: auth-service status --check")
@failing_with_a_sentence
def status(as_json: AsJson = False, check: Check = False) -> None:
    """Show the outbox backlog and relay status."""

    async def read(engine: AsyncEngine) -> metrics.OutboxFigures:
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


app.command("restored", epilog=restore.EXAMPLE)(restore.restored)
