"""Correct maintained digests that are wrong, name them, and raise the alarm.

A digest is wrong when something went past the triggers. A comparison of whole tables finds it
(``read.check_digests``).

Guarantees: one session corrects at a time, and no writer waits for it.
"""

from typing import Final, NamedTuple

import structlog
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.sync.maintained_digests import TRIGGERS, correction_sql
from service_kit.database.digests.read import UsersTable

log = structlog.get_logger()

corrected = Counter(
    "usersync_digests_corrected_buckets_total",
    "Buckets whose maintained digest was wrong and was corrected; each is an alarm",
)

# Only another correction waits for this lock: neither a writer nor a fold.
_ONE_AT_A_TIME: Final = text("LOCK TABLE digests IN SHARE UPDATE EXCLUSIVE MODE")

_ACTIVE: Final = text(
    "SELECT tgname FROM pg_trigger"
    " WHERE tgrelid = CAST(CAST(:users AS text) AS regclass) AND tgenabled IN ('O', 'A')"
)


class Correction(NamedTuple):
    """What was wrong: how many buckets, and which triggers do not count what is written."""

    buckets: int
    inactive: tuple[str, ...]

    def __str__(self) -> str:
        """Return a sentence for operators, with the remedy."""
        said = f"{self.buckets:,} of the maintained digests were wrong and have been corrected"
        if self.inactive:
            names = ", ".join(self.inactive)
            said += f"; the triggers {names} are disabled or missing, so enable or create them"
        return said


async def correct_digests(connection: AsyncConnection, users: UsersTable) -> Correction:
    """Correct the maintained digests of ``users`` from its rows, in a transaction of its own.

    Parameters:
        connection: outside a transaction; its statements may take as long as one scan.
        users: the table.
    """
    async with connection.begin():
        await connection.execute(_ONE_AT_A_TIME)
        buckets = len((await connection.execute(text(correction_sql(*users)))).all())
        active = set((await connection.execute(_ACTIVE, {"users": users.name})).scalars())
    correction = Correction(buckets, tuple(name for name in TRIGGERS if name not in active))
    if buckets:
        corrected.inc(buckets)
        log.critical("digests.corrected", buckets=buckets, inactive_triggers=correction.inactive)
    return correction
