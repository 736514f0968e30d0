"""Judge a run when all faults have ended: is everything as it was promised?"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from local.compare import compare
from tests.chaos.history import Entry, connected
from tests.chaos.stage import Stage
from tests.chaos.traffic import Ledger, Person
from tests.support.eventually import eventually
from tests.support.settled import figure
from tests.support.source import DEAD, LIVE, source_on

SETTLED_SECONDS_MAX: Final = 45.0
"""From the end of the last fault. A frozen relay keeps its lease for ten seconds, and a consumer
waits for a minute at most."""

_WAITING: Final = {
    "unpublished": (
        "auth",
        "SELECT count(*) FROM outbox_events WHERE published_at IS NULL"
        " AND type <> 'sync.heartbeat'",
    ),
    "parked": ("blog", "SELECT count(*) FROM parked_messages"),
    "set aside": ("blog", "SELECT count(*) FROM waiting_messages"),
    "to be erased": ("blog", "SELECT count(*) FROM users WHERE sweep = 'deleted'"),
    "not proved equal": (
        "blog",
        "SELECT count(*) FROM (VALUES (1)) AS one LEFT JOIN current_proof ON true WHERE NOT"
        " coalesce(proved_at BETWEEN clock_timestamp() - interval '4 s' AND clock_timestamp()"
        " AND differing::text = '{}', false)",
    ),
}
"""What has to become zero, by its name."""

_DELETED: Final = (
    "(SELECT id FROM users WHERE status = 'deleted' AND sweep IS DISTINCT FROM 'orphan')"
)
"""Without orphans, whose content is hidden, and erased after seven days."""

_LEFT_OF_THE_DELETED: Final = {
    "posts": f"posts WHERE author_id IN {_DELETED} AND (title IS NOT NULL OR body IS NOT NULL)",
    "comments": f"comments WHERE author_id IN {_DELETED} AND body IS NOT NULL",
    "profiles": f"profiles WHERE user_id IN {_DELETED}",
    "addresses in the replica": "users WHERE status = 'deleted' AND email IS NOT NULL",
}

_LEFT_AT_THE_SOURCE: Final = {
    "payloads of events": "outbox_events WHERE user_id IN"
    " (SELECT id FROM users WHERE status = 'deleted') AND payload IS NOT NULL"
    " AND type <> 'user.deleted'",
    "addresses at the source": "users WHERE status = 'deleted' AND email IS NOT NULL",
}

_SECRETS: Final = {
    "a traceback": re.compile(r"Traceback \(most recent call last\)"),
    "a token": re.compile(r"eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]+"),
    "an e-mail address": re.compile(r"@example\.org"),
}


async def is_settled(stage: Stage) -> bool:
    """Return whether nothing is under way, and both tables are equal field by field."""
    urls = {name: each.direct_url for name, each in stage.machines.databases.items()}
    for name, (service, query) in _WAITING.items():
        found = await figure(urls[service], query)
        assert not found, f"{name}: {found}"
    compared = await compare(urls["auth"], urls["blog"])
    assert not compared.differences, f"{compared}: {[str(d) for d in compared.differences[:3]]}"
    async with source_on(stage.machines.broker.url, declare=False) as source:
        ready, dead = await source.ready(LIVE), await source.ready(DEAD)
    assert (ready, dead) == (0, 0), f"{ready} messages are ready, {dead} dead"
    return True


async def recover(stage: Stage) -> tuple[datetime, datetime]:
    """Do what docs/failover.md says after a failover of the auth service's database.

    Returns:
        When ``restored`` began and when it ended.
    """
    await stage.stop("auth-service")
    _, printed = await stage.command("blog-service status --json")
    floor = re.search(r'"highest_version": (\d+)', printed)
    assert floor is not None, printed
    began = datetime.now(UTC)
    code, printed = await stage.command(f"auth-service restored --floor {floor[1]}")
    restored = began, datetime.now(UTC)
    assert code == 0, printed
    await stage.start("auth-service")
    await _until_published(stage)
    _, undone = await stage.command("blog-service reconcile --ids undone_deletion")
    if undone.strip():
        code, printed = await stage.command("auth-service users erase --yes -", typed=undone)
        assert code == 0, printed
    await stage.command("blog-service reconcile --repair --ahead --orphans --max-deletions 1000")
    return restored


async def _until_published(stage: Stage) -> None:
    service, query = _WAITING["unpublished"]
    url = stage.machines.databases[service].direct_url

    async def is_published() -> bool:
        return not await figure(url, query)

    await eventually(is_published, within=SETTLED_SECONDS_MAX, every=0.1)


async def left_of_the_deleted(stage: Stage) -> list[str]:
    found = []
    for service, left in (("blog", _LEFT_OF_THE_DELETED), ("auth", _LEFT_AT_THE_SOURCE)):
        for name, rows in left.items():
            url = stage.machines.databases[service].direct_url
            if count := await figure(url, f"SELECT count(*) FROM {rows}"):
                found.append(f"{count} {name} of deleted users are left")
    return found


async def broken_promises(
    stage: Stage, ledger: Ledger, recorded: Sequence[Entry]
) -> tuple[list[str], list[str]]:
    """Return which acknowledged changes are missing, or who is alive again; and what is excused.

    A failover of the auth service's database excuses what was recorded in the lost time alone.

    Parameters:
        stage: the system.
        ledger: what was acknowledged.
        recorded: the source's history, with what a failover has lost.
    """
    async with connected(stage.machines.databases["auth"].direct_url) as connection:
        rows = await connection.fetch("SELECT id, status FROM users")
    status: dict[UUID, str] = {row["id"]: row["status"] for row in rows}
    lost = _known([entry for entry in recorded if entry.is_lost])
    kept = _known([entry for entry in recorded if not entry.is_lost])
    broken: list[str] = []
    excused: list[str] = []
    for person in ledger.people:
        has, had = kept.get(person.id, set()), lost.get(person.id, set())
        for fact in sorted(_promised(person) - has):
            (excused if fact in had else broken).append(f"{person.id}: {fact}")
        if "deleted" in has and status.get(person.id) != "deleted":
            broken.append(f"{person.id} was deleted, and is alive")
    return broken, excused


def _known(entries: Sequence[Entry]) -> dict[UUID, set[str]]:
    """What each user was recorded with: roles, addresses, and ``deleted``."""
    known: dict[UUID, set[str]] = {}
    for entry in entries:
        if entry.what == "recorded" and entry.user_id is not None:
            facts = known.setdefault(entry.user_id, {"there"})
            facts |= {*(entry.roles or ()), *([entry.email] if entry.email else [])}
            facts |= {"deleted"} if entry.deleted else set()
    return known


def _promised(person: Person) -> set[str]:
    return {*person.roles, *person.emails, "there", *(["deleted"] if person.is_deleted else [])}


def in_the_logs(stage: Stage) -> list[str]:
    return [
        f"{name} is in {file}: {text[max(0, match.start() - 200) : match.end() + 200]}"
        for file, text in stage.system.logs().items()
        for name, pattern in _SECRETS.items()
        if (match := pattern.search(text))
    ]
