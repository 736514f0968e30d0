"""Count the processes that try a redelivered message, before each try.

A message that crashes the process leaves no error, only a count; it is recognised when the count
exceeds its limit. A process that survives counts once, however often it tries, so an unstable
database never parks a message. The broker's own counter is not suitable: a crash counts against
every prefetched message, and versions of the broker count differently.
"""

from uuid import UUID

from sqlalchemy import Integer, cast, delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from replica.inbox.table import attempts


async def count_attempt(connection: AsyncConnection, message_hash: bytes, process: UUID) -> int:
    """Record that ``process`` is about to try the message, and return the number of processes.

    The caller commits before the try.
    """
    counted = (
        insert(attempts)
        .values(message_hash=message_hash, attempts=1, process=process)
        .on_conflict_do_update(
            index_elements=[attempts.c.message_hash],
            set_={
                "attempts": attempts.c.attempts + cast(attempts.c.process != process, Integer),
                "process": process,
                "last_at": func.now(),
            },
        )
        .returning(attempts.c.attempts)
    )
    number: int = (await connection.execute(counted)).scalar_one()
    return number


async def clear_attempts(connection: AsyncConnection, message_hash: bytes) -> None:
    """Delete the count, in the transaction that applies or parks the message."""
    await connection.execute(delete(attempts).where(attempts.c.message_hash == message_hash))
