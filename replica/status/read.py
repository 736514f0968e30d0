"""The pipe's far end at a glance: the replica, the queues, what is parked, the last comparison."""

from dataclasses import asdict
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from replica.certificates import agreement
from replica.certificates.store import marks
from replica.inbox import metrics, waiting
from replica.inbox.topology import depths
from replica.proof.current import current
from replica.proof.model import summary
from replica.proof.model import why_degraded as why_unproved
from replica.reconcile import runs
from replica.reconcile.schedule import why_degraded
from replica.samples.clock import latest
from replica.samples.read import presence
from replica.settings import DatabaseSettings
from replica.status.model import pipe
from replica.table import Replica
from service_kit.broker.connection import BROKER_ERRORS, connected
from service_kit.database.clock import seconds_set_back
from service_kit.process.clock import described


async def status(
    replica: Replica,
    settings: DatabaseSettings,
    connection: AsyncConnection,
    amqp_url: str | None = None,
) -> dict[str, Any]:
    """All figures by name; ages in seconds.

    The last comparison is the last one with a verdict: a run that never compared tells nothing
    about the replica.

    Parameters:
        amqp_url: of the broker, for the depths of the queues; without it they are as the consumers
            saw them a moment ago. They are None when the broker does not answer, or nobody asks it.
    """
    figures = await metrics.figures(replica, connection)
    present = await presence(connection)
    queues = (
        await _depths(replica, settings, amqp_url)
        if amqp_url
        else {name: getattr(present, name) for name in replica.queues.depths}
    )
    kept = await waiting.summary(connection)
    last = await runs.last_comparison(connection)
    proof = await current(connection)
    longest = settings.heartbeat_seconds_max
    incomplete = await why_degraded(replica, connection)
    return {
        "proof": summary(proof, longest, command=replica.command),
        "agreement": agreement.summary(*await marks(connection)),
        "pipe": pipe(
            heartbeat_age_seconds=figures.last_heartbeat_age_seconds,
            queue_depth=queues["queue_depth"],
            knows_queue=amqp_url is not None or present.consumers > 0,
            consumers=present.consumers,
            consumers_stopped=present.stopped,
            consumer_age_seconds=present.age_seconds,
            heartbeat_seconds_max=longest,
            set_aside=kept.messages,
            set_aside_reasons=kept.reasons,
            set_aside_for=kept.keys,
        ),
        **asdict(figures),
        "waiting_messages": kept.messages,
        "waiting_oldest_seconds": kept.oldest_seconds,
        "waiting_for": ", ".join(kept.keys) or None,
        "waiting_reasons": ", ".join(kept.reasons) or None,
        **queues,
        "consumers": present.consumers,
        "consumers_stopped": present.stopped,
        "consumer_age_seconds": present.age_seconds,
        "lag_seconds": present.lag_seconds,
        "clock": described(await seconds_set_back(connection, latest(replica))),
        "degraded": incomplete or why_unproved(proof, longest),
        "last_reconcile": None if last is None else last.verdict,
        "last_reconcile_at": None if last is None else last.finished_at,
        "last_reconcile_reason": None if last is None else last.reason,
        "last_reconcile_users": None if last is None else last.compared,
        "last_reconcile_differing": None if last is None else sum((last.differing or {}).values()),
        "last_reconcile_repaired": None if last is None else sum((last.repaired or {}).values()),
        "last_reconcile_explanation": None if last is None else last.explanation,
        "reconcile_trouble": await runs.own_trouble(connection),
    }


async def _depths(
    replica: Replica, settings: DatabaseSettings, amqp_url: str
) -> dict[str, int | None]:
    try:
        async with connected(amqp_url, name=f"{settings.application_name} status") as connection:
            found = await depths(connection, replica.queues)
    except BROKER_ERRORS:
        found = {}
    return {name: found.get(queue) for name, queue in replica.queues.depths.items()}
