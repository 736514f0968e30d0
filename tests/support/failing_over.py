"""Let the database of one service lose its last changes in a failover, and tell what was lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from local.compare import Comparison, compare
from tests.support.eventually import eventually
from tests.support.load import loaded
from tests.support.standby import ReplicatedDatabase, replicated
from tests.support.system import System
from tests.support.whole import Whole, running

NOTICED_SECONDS_MAX: Final = 20.0
"""From the end of a failover until what differs is named, or repaired."""

HEARTBEATS_MISSED: Final = 3
"""Heartbeats in the blog's setting for the age at which the source counts as silent."""


@dataclass(frozen=True)
class Lost:
    """What one side has forgotten: users who differ by kind, and who was deleted meanwhile."""

    kinds: dict[str, int]
    deleted: Sequence[UUID]


class FailingOver:
    """The whole system, of which one database can fail over."""

    def __init__(self, whole: Whole, database: ReplicatedDatabase) -> None:
        self.whole = whole
        self._database = database

    async def fail_over(self, *, seconds: float, after: float = 0.0) -> Lost:
        """Lose the changes of so many seconds, under load; return what is lost.

        All of them have reached the other side. No heartbeat is among them if the loss ends before
        the next one.

        Parameters:
            seconds: from the last commit that the standby gets to the last one of the primary.
            after: from a heartbeat to the beginning of the loss.
        """
        async with loaded(self.whole.auth) as load:
            await eventually(lambda: load.changes > 50)
            await self.whole.next_heartbeat()
            await asyncio.sleep(after)
            self._database.fall_behind()
            before = len(load.deleted)
            await asyncio.sleep(seconds)
        await eventually(self.whole.is_published)
        await eventually(self.whole.agrees)
        urls = self.whole.system.auth_url, self.whole.system.blog_url
        now = [self._database.standby_url if u == self._database.url else u for u in urls]
        lost = await compare(*now)
        await self._database.fail_over()
        return Lost(kinds_of(lost), load.deleted[before:])


@asynccontextmanager
async def failing_over(
    system: System, service: str, *, heartbeat_seconds: float
) -> AsyncIterator[FailingOver]:
    """Run the system inside the block, with the database of ``service`` on a pair of servers."""
    async with replicated(service) as database:
        is_auth = service == "auth"
        moved = replace(
            system,
            auth_url=database.url if is_auth else system.auth_url,
            blog_url=system.blog_url if is_auth else database.url,
        )
        async with running(moved, **every(heartbeat_seconds)) as whole:
            yield FailingOver(whole, database)


def every(heartbeat_seconds: float) -> dict[str, object]:
    return {
        "AUTH_HEARTBEAT_SECONDS": heartbeat_seconds,
        "BLOG_HEARTBEAT_SECONDS_MAX": HEARTBEATS_MISSED * heartbeat_seconds,
    }


def kinds_of(found: Comparison) -> dict[str, int]:
    """Count the users who differ by kind, as reconcile names them."""
    kinds: dict[UUID, str] = {}
    for each in found.differences:
        if each.field == "row":
            kinds[each.id] = "orphan" if each.source is None else "missing"
        elif each.field == "version":
            kinds.setdefault(each.id, "ahead" if each.replica > each.source else "stale")
        elif each.field == "status" and "deleted" in (each.source, each.replica):
            kinds[each.id] = "undeleted" if each.source == "deleted" else "undone_deletion"
    return dict(sorted(Counter(kinds.values()).items()))
