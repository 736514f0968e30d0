"""Run and operate the blog service."""

import asyncio
import logging
from functools import partial
from typing import Any

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.erasure.sweep import sweep_continuously
from blog_service.settings import ApiSettings, ConsumerSettings, DatabaseSettings, StatusSettings
from replica.inbox.consumer import Consumer
from replica.parked import commands as parked
from replica.reconcile.commands import reconcile
from replica.reconcile.watch import watch
from replica.samples.clock import LATEST
from replica.samples.sampler import sample_periodically
from replica.status import metrics
from replica.status.model import needs_attention
from replica.status.read import status as read_status
from service_kit.database.clock import watch as watch_clock
from service_kit.database.commands import on_database, require_suitable
from service_kit.database.engines import pooled
from service_kit.http.probes import health_routes
from service_kit.http.serving import serve, serve_beside
from service_kit.process.setting_commands import setting_commands, warn_of_unknown
from service_kit.process.settings import load
from service_kit.process.tasks import end_tasks
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
app.add_typer(parked.app, name="parked")
app.add_typer(setting_commands(DatabaseSettings), name="settings")


app.command(epilog="Example: blog-service reconcile --repair")(reconcile)


@app.command(epilog="Example: BLOG_PORT=8002 blog-service api")
@failing_with_a_sentence
def api() -> None:
    """Serve the blog over HTTP."""
    # Imported here, because the other commands need neither its start-up time nor its memory.
    from blog_service.app import create_app

    settings = load(ApiSettings)
    configure_logging("blog-service api")
    warn_of_unknown(DatabaseSettings)
    require_suitable(settings)
    serve(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        setting="BLOG_PORT",
        trusted_proxies=settings.trusted_proxies,
    )


@app.command(epilog="Example: BLOG_AMQP_URL=amqp://localhost/ blog-service consumer")
@failing_with_a_sentence
def consumer() -> None:
    """Apply user events from the source to the replica."""
    settings = load(ConsumerSettings)
    configure_logging("blog-service consumer")
    warn_of_unknown(DatabaseSettings)
    require_suitable(settings)
    engine = pooled(settings)
    worker = Consumer(settings, engine)

    async def work() -> None:
        """Run the consumer and its background tasks until the first of them ends or fails."""
        tasks = [
            asyncio.ensure_future(worker.run()),
            asyncio.ensure_future(watch(settings, engine)),
            asyncio.ensure_future(sweep_continuously(settings, engine)),
            asyncio.ensure_future(sample_periodically(settings, engine, worker.activity)),
            asyncio.ensure_future(watch_clock(engine, LATEST)),
        ]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_tasks(*tasks)
        for task in ended:
            task.result()

    serve_beside(
        work(),
        health_routes(ready=worker.ready, refresh=partial(metrics.refresh, engine)),
        host=settings.host,
        port=settings.consumer_port,
        setting="BLOG_CONSUMER_PORT",
        stop=worker.stop,
        stop_seconds_max=settings.drain_seconds_max,
    )


@app.command(epilog="Example: blog-service status --check")
@failing_with_a_sentence
def status(as_json: AsJson = False, check: Check = False) -> None:
    """Show replica, queue and parked-message status."""
    logging.disable()  # failed attempts to reach the broker show as "-" in the figures

    async def read(engine: AsyncEngine) -> dict[str, Any]:
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
