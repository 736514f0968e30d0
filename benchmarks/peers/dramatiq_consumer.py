"""A dramatiq actor with one upsert transaction per message, on eight threads.

dramatiq is synchronous and the locked packages have no synchronous driver, so each thread runs an
asyncpg connection of its own.
"""

import asyncio
import os
import threading
from typing import Any

import asyncpg
import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.peers.dramatiq_queue import ACTOR, QUEUE
from contracts.events import UserState

dramatiq.set_broker(RabbitmqBroker(url=os.environ["PEER_AMQP_URL"]))

_UPSERT = """
    INSERT INTO users AS present (id, version, email, email_verified, roles, status,
                                  tokens_valid_after, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (id) DO UPDATE SET
        version = excluded.version, email = excluded.email,
        email_verified = excluded.email_verified, roles = excluded.roles,
        status = excluded.status, tokens_valid_after = excluded.tokens_valid_after,
        created_at = excluded.created_at, updated_at = excluded.updated_at
    WHERE present.version < excluded.version
"""


class _Thread(threading.local):
    """A thread's own event loop and connection."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        address = os.environ["PEER_REPLICA_URL"].replace("+asyncpg", "")
        self.connection = self.runner.run(asyncpg.connect(address))


_thread = _Thread()


@dramatiq.actor(actor_name=ACTOR, queue_name=QUEUE)
def apply(payload: str) -> None:
    """Insert the user, or update the row if the event is newer."""
    user = UserState.model_validate_json(payload)
    values: tuple[Any, ...] = tuple(getattr(user, name) for name in UserState.model_fields)
    _thread.runner.run(_thread.connection.execute(_UPSERT, *values))
