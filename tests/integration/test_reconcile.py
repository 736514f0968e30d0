"""Reconcile names every difference by kind, and repairs the kinds that the caller asks for."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text

from auth_service.users.transaction import change_user
from blog_service.replica_of_users import USERS
from replica.reconcile.classify_and_repair import BATCH_PAGES, classify_and_repair
from replica.reconcile.model import Tally, Verdict, repairable
from replica.reconcile.runs import KEPT_MAX
from replica.reconcile.session import session
from tests.support.database_sessions import end_sessions, holding
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.locks import lock_waits
from tests.support.reconciling import DAMAGE, DELETED, ORPHANS, UNDELETED, Pair
from tests.support.settings import having

NEW = "1900000000000000"
"""A version above all others."""


LIVING, DEAD = "deleted_at IS NULL", "deleted_at IS NOT NULL"

SOME, OTHERS, REST = (f"WHERE email LIKE 'user{digit}_@%'" for digit in (1, 2, 3))
"""Conditions for nine users each, none of them deleted."""

LEFT_BEHIND = "UPDATE users SET version = version - 1"
UPPER = "SET email = upper(email)"
MICROSECOND = "updated_at = updated_at + interval '1 microsecond'"
DAMAGES: tuple[tuple[tuple[str, ...], dict[str, int]], ...] = (
    ((f"DELETE FROM users {SOME}",), {"missing": 9}),
    ((f"DELETE FROM users WHERE {DEAD}",), {"missing": 20}),
    ((f"{LEFT_BEHIND} {SOME}",), {"stale": 9}),
    ((f"UPDATE users SET email_verified = NOT email_verified {OTHERS}",), {"corrupt": 9}),
    ((f"UPDATE users SET roles = roles || '{{operator}}' {SOME}",), {"corrupt": 9}),
    ((f"UPDATE users SET {MICROSECOND} {SOME}",), {"corrupt": 9}),
    ((f"UPDATE users SET email = NULL {SOME}",), {"corrupt": 9}),
    ((f"{UNDELETED} WHERE {DEAD}",), {"undeleted": 20}),
    (("TRUNCATE users",), {"missing": 200}),
    (
        (f"DELETE FROM users {SOME}", f"{LEFT_BEHIND} {OTHERS}", f"UPDATE users {UPPER} {REST}"),
        {"missing": 9, "stale": 9, "corrupt": 9},
    ),
)


async def test_damage_is_named_and_then_repaired(pair: Pair) -> None:
    for damage, kinds in DAMAGES:
        await pair.damage(*damage)

        looked = await pair.reconcile()
        changed = await pair.agrees()
        repaired = await pair.reconcile(repair=True)
        again = await pair.reconcile()

        found = (looked.verdict, looked.differing, looked.repaired)
        assert found == (Verdict.DRIFT, kinds, {}), damage
        assert not changed, damage
        assert (repaired.verdict, repaired.repaired) == (Verdict.IN_STEP, kinds), damage
        assert (again.verdict, again.differing) == (Verdict.IN_STEP, {}), damage
        assert await pair.agrees(), damage


async def test_each_user_is_counted_once_with_two_lanes(pair: Pair) -> None:
    """Both lanes work through many differing buckets and never share one."""
    await execute(pair.auth, "TRUNCATE users CASCADE")
    await pair.damage("TRUNCATE users")
    await pair.fill(6000, one_in=2)
    await pair.damage("DELETE FROM users WHERE ('x' || right(id::text, 1))::bit(4)::int % 2 = 0")
    await pair.damage(ORPHANS.format(8))
    missing = 6000 - len(await fetch(pair.blog, "SELECT 1 FROM users")) + 8

    ended = await pair.reconcile(repair=True, orphans=True)

    assert ended.repaired == {"missing": missing, "orphan": 8}
    assert (ended.verdict, ended.in_flight, ended.compared) == (Verdict.IN_STEP, 0, 6000)
    assert await pair.agrees()


async def test_a_report_names_each_user_and_nobody_of_equal_tables(pair: Pair) -> None:
    equal = await pair.reconcile()
    [gone] = await pair.ids(LIVING, 1)
    [old] = await pair.ids(f"{LIVING} AND id <> '{gone}'", 1)
    stale = f"UPDATE users SET version = 5 WHERE id = '{old}'"
    await pair.damage(f"DELETE FROM users WHERE id = '{gone}'", stale)

    ended = await pair.reconcile(repair=True)

    assert (equal.verdict, equal.compared, equal.differing) == (Verdict.IN_STEP, 200, {})
    assert ended.findings is not None
    findings = {found["user_id"]: found for found in ended.findings}
    assert findings.keys() == {gone, old}
    assert (findings[gone]["kind"], findings[gone]["replica_version"]) == ("missing", None)
    assert findings[old].pop("source_version") > 5
    said = {"kind": "stale", "replica_version": 5, "repaired": True}
    assert findings[old] == {"user_id": old, **said}


async def test_newer_rows_are_repaired_when_asked_for_and_undone_deletions_never(
    pair: Pair,
) -> None:
    """The newer version may be the right one, so an operator has to decide."""
    await pair.damage(f"UPDATE users SET version = {NEW} WHERE email LIKE 'user1_@%'")
    without = await pair.reconcile(repair=True)
    asked = await pair.reconcile(ahead=True)
    agrees = await pair.agrees()
    [user_id] = await pair.ids(LIVING, 1)
    await pair.damage(f"{DELETED} WHERE id = '{user_id}'")
    undone = await pair.reconcile(repair=True, ahead=True, orphans=True)

    assert (without.verdict, without.differing) == (Verdict.DRIFT, {"ahead": 9})
    assert without.repaired == {}
    assert (asked.verdict, asked.repaired, agrees) == (Verdict.IN_STEP, {"ahead": 9}, True)
    assert undone.verdict is Verdict.DRIFT
    assert (undone.differing, undone.repaired) == ({"undone_deletion": 1}, {})
    [row] = await fetch(pair.blog, f"SELECT status FROM users WHERE id = '{user_id}'")
    assert row.status == "deleted"


async def test_orphans_become_tombstones_when_asked_for_and_not_too_many(pair: Pair) -> None:
    """One orphan too many and none is deleted; the report names the option for more."""
    await pair.damage(ORPHANS.format(3))
    rows = await fetch(pair.blog, "SELECT id FROM users WHERE version = 7")

    without = await pair.reconcile(repair=True, ahead=True)
    held = await pair.reconcile(orphans=True, deletions_max=2)
    asked = await pair.reconcile(orphans=True, deletions_max=3)
    again = await pair.reconcile()

    assert (without.verdict, without.differing) == (Verdict.DRIFT, {"orphan": 3})
    assert (held.verdict, held.repaired) == (Verdict.DRIFT, {})
    assert "--max-deletions" in str(held.explanation)
    assert (asked.verdict, asked.repaired) == (Verdict.IN_STEP, {"orphan": 3})
    assert (again.verdict, again.differing) == (Verdict.IN_STEP, {})
    buried = await fetch(pair.blog, "SELECT * FROM users WHERE version = 8")
    assert {row.id for row in buried} == {row.id for row in rows}
    assert {(row.status, row.email) for row in buried} == {("deleted", None)}


async def test_a_provisional_user_is_an_orphan_or_missing(pair: Pair) -> None:
    """The row has only an id: an orphan's is removed, that of a user of the source is filled."""
    provisional = "INSERT INTO users (id, version, status) VALUES ('{}', 0, 'provisional')"
    orphan, [known] = uuid4(), await pair.ids(LIVING, 1)
    gone = f"DELETE FROM users WHERE id = '{known}'"
    await pair.damage(gone, provisional.format(orphan), provisional.format(known))

    repaired = await pair.reconcile(repair=True)
    asked = await pair.reconcile(orphans=True)

    assert repaired.differing == {"missing": 1, "provisional_orphan": 1}
    assert repaired.repaired == {"missing": 1}
    assert (asked.verdict, asked.repaired) == (Verdict.IN_STEP, {"provisional_orphan": 1})
    assert await fetch(pair.blog, f"SELECT 1 FROM users WHERE id = '{orphan}'") == []
    assert await pair.agrees()


class TestInFlight:
    """Events that have not arrived yet are not drift."""

    async def test_users_with_an_unpublished_event_are_in_flight(self, pair: Pair) -> None:
        """The source marks these users; they are neither counted as drift nor repaired."""
        await pair.damage("DELETE FROM users WHERE email LIKE 'user1_@%'")
        columns = ", ".join(USERS.columns)
        rows = await fetch(pair.auth, f"SELECT {columns} FROM users WHERE email LIKE 'user1_@%'")
        tally = Tally()
        values = ", ".join(f":{name}" for name in USERS.columns)
        staged = text(f"INSERT INTO staged ({columns}, unpublished) VALUES ({values}, true)")
        repairs = repairable(repair=True, ahead=True, orphans=True)
        async with session(pair.settings) as connection:
            async with connection.begin():
                await connection.execute(staged, [dict(row._mapping) for row in rows])
            await classify_and_repair(USERS, connection, 0, BATCH_PAGES, repairs, tally)

        assert (tally.in_flight, tally.differing, tally.repaired) == (len(rows), {}, {})
        assert len(rows) == 9
        assert not await pair.agrees()

    async def test_live_traffic_is_never_reported_as_drift(self, pair: Pair) -> None:
        ids = [row.id for row in await fetch(pair.auth, f"SELECT id FROM users WHERE {LIVING}")]
        done = asyncio.Event()

        async def change_all() -> int:
            changes = 0
            while not done.is_set():
                for user_id in ids:
                    async with pair.auth.begin() as connection:
                        await change_user(connection, user_id, email_verified=changes % 2 == 0)
                    changes += 1
            return changes

        changing = asyncio.create_task(change_all())
        ended = [await pair.reconcile() for _ in range(4)]
        await pair.damage(f"DELETE FROM users WHERE id = '{ids[0]}'")
        repaired = await pair.reconcile(repair=True)
        done.set()
        changes = await changing

        assert changes > len(ids) / 2
        assert {run.verdict for run in ended} == {Verdict.IN_STEP}, ended
        assert {kind for run in ended for kind in run.differing or {}} == set()
        assert repaired.verdict is Verdict.IN_STEP
        await eventually(pair.agrees)

    async def test_without_a_heartbeat_there_is_no_verdict(self, pair: Pair) -> None:
        """Without one, late events cannot be told from lost ones."""
        await pair.damage(DAMAGE["missing"])
        hasty = having(pair.settings, reconcile_wait_seconds=0.001)
        ended = await pair.reconcile(repair=True, settings=hasty)
        assert ended.verdict is Verdict.COULD_NOT_COMPARE
        assert "heartbeat" in str(ended.explanation)
        assert not await pair.agrees()


async def test_failures_on_the_way_give_no_verdict_and_a_remedy(
    pair: Pair, unused_port: int
) -> None:
    """The last one is the replica's own session, which ends while the source responds."""
    for changes, remedy in [
        ({"auth_url": f"http://127.0.0.1:{unused_port}"}, "BLOG_AUTH_URL"),
        ({"service_id": "svc_0000000000000000"}, "rotate-key"),
    ]:
        ended = await pair.reconcile(settings=having(pair.settings, **changes))
        assert ended.verdict is Verdict.COULD_NOT_COMPARE
        assert remedy in str(ended.explanation)

    await pair.damage("TRUNCATE users")
    async with holding(pair.auth, "LOCK TABLE users"):
        reconciling = asyncio.create_task(pair.reconcile(repair=True))
        await eventually(lambda: lock_waits(pair.auth))
        assert await end_sessions(pair.blog, "application_name = 'blog-service reconcile'")
    ended = await reconciling
    assert ended.verdict is Verdict.COULD_NOT_COMPARE
    assert "broke off" in str(ended.explanation)


async def test_another_source_gives_no_verdict_even_after_many_failures(pair: Pair) -> None:
    """The history keeps the last run that names the source, beyond its usual length."""
    await pair.reconcile()
    await execute(pair.auth, "UPDATE source SET identity = gen_random_uuid()")
    await pair.damage(DAMAGE["missing"])
    first = await pair.reconcile(repair=True)
    await pair.damage(
        "INSERT INTO reconcile_runs (reason, repairs, deletions_max, requested_at, started_at,"
        " finished_at, verdict) SELECT 'gap', '{}', 0, now(), now(), now() + n * interval '1 ms',"
        " 'could_not_compare' FROM generate_series(1, 1100) AS n"
    )

    ended = await pair.reconcile(repair=True)

    kept = await fetch(pair.blog, "SELECT count(*) FROM reconcile_runs")
    assert kept[0][0] == KEPT_MAX + 1
    for run in (first, ended):
        assert run.verdict is Verdict.COULD_NOT_COMPARE
        assert "--accept-source" in str(run.explanation)
    assert not await pair.agrees()


async def test_only_a_repair_clears_a_suspicion(pair: Pair) -> None:
    """A comparison that finds drift leaves it to the automatic repair."""
    await eventually(lambda: fetch(pair.blog, "SELECT 1 FROM heartbeats"))
    gap = "suspicion = 'gap', suspected_at = now() - interval '1 second'"
    await pair.damage(DAMAGE["missing"], f"UPDATE heartbeats SET {gap}")

    await pair.reconcile()
    looked = await fetch(pair.blog, "SELECT suspicion FROM heartbeats")
    await pair.reconcile(repair=True)
    repaired = await fetch(pair.blog, "SELECT suspicion FROM heartbeats")

    assert [row.suspicion for row in looked] == ["gap"]
    assert [row.suspicion for row in repaired] == [None]


@pytest.mark.slow
async def test_a_batch_of_tombstones_stays_within_the_lock_limit(pair: Pair) -> None:
    """It is split, because the lock table belongs to the whole server."""
    await execute(pair.auth, "TRUNCATE users CASCADE")
    await pair.fill(3000, one_in=1, replica=False)
    await pair.damage("TRUNCATE users")
    ended = await pair.reconcile(repair=True)
    assert ended.repaired == {"missing": 3000}
    assert await pair.agrees()


async def test_an_empty_replica_is_filled_while_users_change(pair: Pair) -> None:
    """Most are written without being told apart; events that arrive meanwhile win."""
    await execute(pair.auth, "TRUNCATE users CASCADE")
    await pair.fill(20_000, one_in=5, replica=False)
    await pair.damage("TRUNCATE users")
    ids = [row.id for row in await fetch(pair.auth, f"SELECT id FROM users WHERE {LIVING}")]
    done = asyncio.Event()

    async def change_some() -> None:
        for user_id in ids:
            if done.is_set():
                return
            async with pair.auth.begin() as connection:
                await change_user(connection, user_id, email_verified=True)

    changing = asyncio.create_task(change_some())
    ended = await pair.reconcile(repair=True)
    done.set()
    await changing

    assert ended.verdict is Verdict.IN_STEP
    assert ended.compared == 20_000
    assert (ended.differing or {}).keys() <= {"missing", "stale"}
    await eventually(pair.agrees)
    assert (await pair.reconcile()).differing == {}


async def test_two_concurrent_repairs_end_in_step(pair: Pair) -> None:
    corrupt = "UPDATE users SET email = 'x' || email WHERE email LIKE 'user2%'"
    await pair.damage("DELETE FROM users WHERE email LIKE 'user1%'", corrupt)
    ended = await asyncio.gather(pair.reconcile(repair=True), pair.reconcile(repair=True))
    assert {run.verdict for run in ended} == {Verdict.IN_STEP}
    assert await pair.agrees()


async def test_a_repaired_deletion_erases_parked_messages_of_the_user(pair: Pair) -> None:
    """A repair erases as much as the deletion event would have."""
    [dead] = await pair.ids(DEAD, 1)
    await pair.damage(
        f"{UNDELETED} WHERE id = '{dead}'",
        "INSERT INTO parked_messages (message_hash, user_id, reason, error, exchange, routing_key,"
        f" properties, body) VALUES ('h', '{dead}', 'invalid_data', 'x', 'users', 'user.updated',"
        " '{}', 'personal')",
    )

    await pair.reconcile(repair=True)

    [row] = await fetch(pair.blog, "SELECT body FROM parked_messages")
    assert row.body is None
    assert await pair.agrees()
