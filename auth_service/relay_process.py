"""The process ``auth-service relay``: relay, replays, pruning, folding, watches, and its health."""

import asyncio
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox import metrics
from auth_service.outbox.clock import LATEST
from auth_service.outbox.prune import prune_hourly
from auth_service.outbox.readiness import ready
from auth_service.outbox.relay import Relay
from auth_service.outbox.watch_queues import watch_queues
from auth_service.replays.replayer import Replayer
from auth_service.settings import RelaySettings
from service_kit.database.clock import watch as watch_clock
from service_kit.database.digests.fold import fold_periodically
from service_kit.database.engines import pooled
from service_kit.http.probes import health_routes
from service_kit.http.serving import serve_beside
from service_kit.processes import start


def run() -> None:
    """Run the process until it is asked to end."""
    settings = start(RelaySettings, "relay")
    engine = pooled(settings)
    relay = Relay(settings)
    serve_beside(
        _work(relay, settings, engine),
        health_routes(
            ready=partial(ready, relay, engine, heartbeat_seconds=settings.heartbeat_seconds),
            refresh=partial(metrics.refresh, engine),
        ),
        host=settings.host,
        port=settings.relay_port,
        setting=settings.variable("relay_port"),
    )


async def _work(relay: Relay, settings: RelaySettings, engine: AsyncEngine) -> None:
    """Run all parts of the process, each on connections of its own."""
    # gather passes every cancellation on, so that one which a part lost is repeated.
    await asyncio.gather(
        relay.run(),
        Replayer(settings).run(),
        prune_hourly(settings),
        watch_clock(engine, LATEST),
        watch_queues(settings),
        fold_periodically(engine),
    )
