"""Count the processes that tried a redelivered message, before each tries.

A message that kills the process leaves no error behind, only a count: it is found when the count
passes its limit. A process that lives on counts once however often it tries, so that a database
that comes and goes never parks a message. The broker's own counter will not do, for a crash counts
against every message that was prefetched, and versions of the broker count differently.
"""

from uuid import UUID

from sqlalchemy import Integer, cast, delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from replica.inbox.table import attempts


async def count_attempt(connection: AsyncConnection, message_hash: bytes, process: UUID) -> int:
    """Note that ``process`` is about to try the message; how many have, this one included.

    The caller commits before he tries.
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
    """Forget the tries, in the transaction that applies or parks the message."""
    await connection.execute(delete(attempts).where(attempts.c.message_hash == message_hash))
