"""Have both databases record what happens to each user, in tables of the runner's own.

Triggers write a row for each event that is recorded, marked as published, applied or repaired. The
row is part of the writer's transaction, so it exists if and only if the change does; a failover
loses both. Its time is that of the commit (``machines.KEEPS_COMMIT_TIMES``): a stall may keep a
transaction open for seconds after its last statement. Rows of one user are in the order of the
changes, because writers lock the user's row.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from replica.reconcile.model import NEWER, Kind

_CONTENT: Final = """
    md5(CASE WHEN u.status = 'deleted'
        THEN ROW(u.version, extract(epoch FROM u.deleted_at))::text
        ELSE ROW(u.version, u.status, u.email, u.email_verified, u.roles,
            extract(epoch FROM u.tokens_valid_after), extract(epoch FROM u.created_at),
            extract(epoch FROM u.updated_at))::text END)
"""
"""All replicated fields of a row ``u``, the same on both sides."""

# Triggers write as the owner: the roles of the processes have no rights here.
_TABLE: Final = """
    CREATE SCHEMA chaos;
    CREATE TABLE chaos.history (
        place bigserial PRIMARY KEY,
        what text NOT NULL,
        user_id uuid,
        version bigint,
        deleted boolean,
        content text,
        email text,
        roles text[],
        urgent boolean
    );
"""

_SOURCE: Final = f"""
    CREATE FUNCTION chaos.recorded() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO chaos.history (what, user_id, version, deleted, content, email, roles,
            urgent)
        SELECT 'recorded', u.id, NEW.version, NEW.type = 'user.deleted',
            {_CONTENT}, u.email, u.roles, NEW.is_urgent
        FROM public.users u WHERE u.id = NEW.user_id;
        RETURN NULL;
    END $$;
    CREATE TRIGGER chaos_recorded AFTER INSERT ON public.outbox_events
        FOR EACH ROW WHEN (NEW.user_id IS NOT NULL) EXECUTE FUNCTION chaos.recorded();

    CREATE FUNCTION chaos.marked() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO chaos.history (what, user_id, version, deleted)
        VALUES (CASE WHEN NEW.payload IS NULL AND NEW.type <> 'user.deleted'
            THEN 'skipped' ELSE 'marked' END,
            NEW.user_id, NEW.version, NEW.type = 'user.deleted');
        RETURN NULL;
    END $$;
    CREATE TRIGGER chaos_marked AFTER UPDATE ON public.outbox_events FOR EACH ROW
        WHEN (NEW.user_id IS NOT NULL AND OLD.published_at IS NULL
            AND NEW.published_at IS NOT NULL)
        EXECUTE FUNCTION chaos.marked();
"""

_REPLICA: Final = f"""
    CREATE FUNCTION chaos.changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        statement text := current_query();
        u public.users := NEW;
        how text;
    BEGIN
        IF TG_OP = 'DELETE' THEN
            u := OLD;
            how := 'removed';
        ELSIF u.version = 0 THEN
            how := 'provisioned';
        ELSIF statement LIKE '%classified%' THEN
            how := 'repaired';
        ELSIF statement LIKE '%buried%' THEN
            how := 'buried';
        ELSE
            how := 'applied';
        END IF;
        INSERT INTO chaos.history (what, user_id, version, deleted, content)
        VALUES (how, u.id, u.version, u.status = 'deleted', {_CONTENT});
        RETURN NULL;
    END $$;
    CREATE TRIGGER chaos_inserted AFTER INSERT OR DELETE ON public.users
        FOR EACH ROW EXECUTE FUNCTION chaos.changed();
    CREATE TRIGGER chaos_updated AFTER UPDATE ON public.users FOR EACH ROW
        WHEN ((OLD.version, OLD.status, OLD.email, OLD.roles)
            IS DISTINCT FROM (NEW.version, NEW.status, NEW.email, NEW.roles))
        EXECUTE FUNCTION chaos.changed();

    CREATE FUNCTION chaos.parked() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO chaos.history (what, user_id) VALUES ('parked', NEW.user_id);
        RETURN NULL;
    END $$;
    CREATE TRIGGER chaos_parked AFTER INSERT ON public.parked_messages
        FOR EACH ROW EXECUTE FUNCTION chaos.parked();

    CREATE TABLE chaos.proofs (
        place bigserial PRIMARY KEY, began timestamptz, in_flight bigint, differing json,
        findings json
    );
    CREATE FUNCTION chaos.proved() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO chaos.proofs (began, in_flight, differing, findings)
        VALUES (NEW.tried_at, NEW.in_flight, NEW.differing, NEW.findings);
        RETURN NULL;
    END $$;
    CREATE TRIGGER chaos_proved AFTER UPDATE ON public.current_proof FOR EACH ROW
        WHEN (OLD.proved_at IS DISTINCT FROM NEW.proved_at
            AND NEW.proved_at < clock_timestamp() + interval '1 hour')
        EXECUTE FUNCTION chaos.proved();

    CREATE TABLE chaos.runs (
        place bigserial PRIMARY KEY, began timestamptz, in_flight bigint, differing json,
        findings json, reason text, repairs text[]
    );
    CREATE FUNCTION chaos.ran() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO chaos.runs (began, in_flight, differing, findings, reason, repairs)
        VALUES (NEW.started_at, NEW.in_flight, NEW.differing, NEW.findings, NEW.reason,
            NEW.repairs);
        RETURN NULL;
    END $$;
    CREATE TRIGGER chaos_ran AFTER UPDATE ON public.reconcile_runs FOR EACH ROW
        WHEN (OLD.verdict IS NULL AND NEW.verdict IN ('in_step', 'drift'))
        EXECUTE FUNCTION chaos.ran();
"""

_INSTALL: Final = {"auth": _TABLE + _SOURCE, "blog": _TABLE + _REPLICA}


@dataclass(frozen=True)
class Entry:
    """What happened to a user: ``what`` is the name that the triggers give it."""

    place: int
    at: datetime
    """When it was committed."""
    what: str
    user_id: UUID | None
    version: int | None
    deleted: bool | None
    content: str | None
    email: str | None
    roles: list[str] | None
    urgent: bool | None
    is_lost: bool = False
    """Whether a failover has lost it."""


@dataclass(frozen=True)
class Compared:
    """A comparison with a verdict, and what it says about each user."""

    began: datetime
    ended: datetime
    claims_all: bool
    """Whether it says of everybody else that they are equal: nobody was in flight."""
    kinds: Mapping[UUID, Kind]
    """Of users who differ, and were not repaired."""
    unrepaired: frozenset[UUID]
    """Of these, users that the comparison was not allowed to repair, as others do by themselves."""
    is_operators: bool = False


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection of the runner's own inside the block."""
    connection = await asyncpg.connect(
        url.replace("+asyncpg", ""),
        timeout=10,
        command_timeout=20,
        server_settings={"application_name": "chaos", "search_path": "public"},
    )
    try:
        yield connection
    finally:
        connection.terminate()


async def install(service: str, url: str) -> None:
    async with connected(url) as connection:
        await connection.execute(_INSTALL[service])


async def history(url: str) -> list[Entry]:
    return [Entry(**row) for row in await _rows(url, "history")]


async def comparisons(url: str) -> list[Compared]:
    """Read the verdicts of the replica's database: proofs, and comparisons of whole tables."""
    proofs = [_compared(row, is_operators=False) for row in await _rows(url, "proofs")]
    return proofs + [
        _compared(row, is_operators=row["reason"] == "operator")
        for row in await _rows(url, "runs")
        if row["reason"] != "backwards"  # it only compares
    ]


async def _rows(url: str, table: str) -> list[asyncpg.Record]:
    async with connected(url) as connection:
        query = f"SELECT pg_xact_commit_timestamp(xmin) AS at, * FROM chaos.{table}"
        return list(await connection.fetch(f"{query} ORDER BY at, place"))


def _compared(row: asyncpg.Record, *, is_operators: bool) -> Compared:
    findings = json.loads(row["findings"] or "[]")
    left = [each for each in findings if not each.get("repaired")]
    differing = sum(json.loads(row["differing"] or "{}").values())
    # A clock that was set back meanwhile has moved the beginning a day ahead.
    repairs = {Kind(kind) for kind in row.get("repairs", sorted(NEWER))}
    began = row["began"] - (timedelta(days=1) if row["began"] > row["at"] else timedelta())
    return Compared(
        began=began,
        ended=row["at"],
        claims_all=not row["in_flight"] and differing <= len(findings),
        kinds={UUID(each["user_id"]): Kind(each["kind"]) for each in left},
        unrepaired=frozenset(
            UUID(each["user_id"]) for each in left if Kind(each["kind"]) in NEWER - repairs
        ),
        is_operators=is_operators,
    )
