"""The command ``blog-service``: its processes and what operators ask of it."""

import asyncio
import dataclasses
import logging
from functools import partial
from typing import Any

import aio_pika
import typer
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from blog_service.db import connect
from blog_service.inbox import metrics
from blog_service.inbox.consumer import CONNECT_TIMEOUT_SECONDS, Consumer
from blog_service.inbox.topology import DEAD, LIVE, depths
from blog_service.settings import ApiSettings, ConsumerSettings, StatusSettings
from contracts.health import health_routes
from contracts.serving import serve, serve_beside
from contracts.settings import load
from contracts.telemetry import configure_logging
from contracts.terminal import AsJson, failing_with_a_sentence, show

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.command(epilog="Example: BLOG_PORT=8002 blog-service api")
@failing_with_a_sentence
def api() -> None:
    """Serve the blog over HTTP."""
    # Imported here, because the other processes need neither its time nor its memory.
    from blog_service.app import create_app

    settings = load(ApiSettings)
    configure_logging("blog-service api")
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
    """Keep the replica in step with the source, by its events."""
    settings = load(ConsumerSettings)
    configure_logging("blog-service consumer")
    engine = connect(settings)
    worker = Consumer(settings, engine)
    serve_beside(
        worker.run(),
        health_routes(ready=worker.ready, refresh=partial(metrics.refresh, engine)),
        host=settings.host,
        port=settings.consumer_port,
        setting="BLOG_CONSUMER_PORT",
        stop=worker.stop,
        stop_seconds_max=settings.drain_seconds_max,
    )


@app.command(epilog="Example: blog-service status --json")
@failing_with_a_sentence
def status(as_json: AsJson = False) -> None:
    """Show the far end of the pipe: the replica, the queues, and what is parked."""
    settings = load(StatusSettings)
    logging.disable()  # what the broker's client tries in vain shows as "-" in the figures

    async def read() -> dict[str, Any]:
        engine = connect(settings)
        try:
            async with engine.connect() as connection:
                figures = dataclasses.asdict(await metrics.figures(connection))
        finally:
            await engine.dispose()
        return figures | await _queues(settings.amqp_url)

    show(asyncio.run(read()), as_json=as_json)


async def _queues(amqp_url: str) -> dict[str, int | None]:
    """The depth of each queue; None for all when the broker is away."""
    names = {LIVE: "queue_depth", DEAD: "dead_queue_depth"}
    try:
        connection = await aio_pika.connect(amqp_url, timeout=CONNECT_TIMEOUT_SECONDS)
        async with connection, asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            found = await depths(connection)
    except (*CONNECTION_EXCEPTIONS, TimeoutError):
        found = dict.fromkeys(names)
    return {label: found[queue] for queue, label in names.items()}
