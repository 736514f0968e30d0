"""Reconcile: whatever is wrong with the replica is named by kind, and mended as far as asked."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from auth_service.users.change import change
from replica import users as replica
from replica.reconcile.model import Tally, Verdict, repairable
from replica.reconcile.runs import KEPT_MAX
from replica.reconcile.session import session
from replica.reconcile.step import BATCH_PAGES, step
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.reconciling import Pair

NEW = "1900000000000000"
"""A version above all others."""


async def test_in_step_when_nothing_differs(pair: Pair) -> None:
    """The digests are the proof; all users count, tombstones too."""
    ended = await pair.reconcile()

    assert (ended.verdict, ended.compared, ended.differing) == (Verdict.IN_STEP, 200, {})
    assert ended.in_flight == 0
    assert ended.source_at is not None


async def _end_copy(pair: Pair) -> bool:
    """End the session that copies the source's answer, as soon as there is one."""
    backend = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'blog-service reconcile' AND query ILIKE 'COPY%'"
    )
    return bool(await eventually(lambda: fetch(pair.blog, backend), every=0.001))


LIVING, DEAD = "deleted_at IS NULL", "deleted_at IS NOT NULL"

SOME, OTHERS, REST = (f"email LIKE 'user{digit}_@%'" for digit in (1, 2, 3))
"""Nine users each, none of whom was deleted."""

DAMAGES = {
    "rows deleted": ([f"DELETE FROM users WHERE {SOME}"], {"missing": 9}),
    "tombstones removed": ([f"DELETE FROM users WHERE {DEAD}"], {"missing": 20}),
    "left behind": ([f"UPDATE users SET version = version - 1 WHERE {SOME}"], {"stale": 9}),
    "changed by hand": (
        [f"UPDATE users SET email_verified = NOT email_verified WHERE {OTHERS}"],
        {"corrupt": 9},
    ),
    "roles changed by hand": (
        [f"UPDATE users SET roles = roles || '{{operator}}' WHERE {SOME}"],
        {"corrupt": 9},
    ),
    "a time changed by a microsecond": (
        [f"UPDATE users SET updated_at = updated_at + interval '1 microsecond' WHERE {SOME}"],
        {"corrupt": 9},
    ),
    "null in place of a text": ([f"UPDATE users SET email = NULL WHERE {SOME}"], {"corrupt": 9}),
    "tombstones brought to life": (
        [
            "UPDATE users SET deleted_at = NULL, status = 'active', version = version - 1,"
            f" created_at = now(), updated_at = now(), email = 'back@example.org' WHERE {DEAD}"
        ],
        {"undeleted": 20},
    ),
    "emptied": (["TRUNCATE users"], {"missing": 200}),
    "everything at once": (
        [
            f"DELETE FROM users WHERE {SOME}",
            f"UPDATE users SET version = version - 1 WHERE {OTHERS}",
            f"UPDATE users SET email = upper(email) WHERE {REST}",
        ],
        {"missing": 9, "stale": 9, "corrupt": 9},
    ),
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
async def test_damage_is_named_and_repaired(pair: Pair, damage: str) -> None:
    """First only looked at, with nothing changed; then repaired, and in step from outside too."""
    statements, kinds = DAMAGES[damage]
    await pair.damage(*statements)

    looked = await pair.reconcile()
    changed = await pair.agrees()
    repaired = await pair.reconcile(repair=True)
    again = await pair.reconcile()

    assert (looked.verdict, looked.differing, looked.repaired) == (Verdict.DRIFT, kinds, {})
    assert not changed
    assert (repaired.verdict, repaired.repaired) == (Verdict.IN_STEP, kinds)
    assert (again.verdict, again.differing) == (Verdict.IN_STEP, {})
    assert await pair.agrees()


async def test_two_lanes_count_each_user_once(pair: Pair) -> None:
    """So many buckets differ that their ranges are too many to name: the lanes share none."""
    await execute(pair.auth, "TRUNCATE users CASCADE")
    await pair.damage("TRUNCATE users")
    await pair.fill(6000, one_in=2)
    await pair.damage("DELETE FROM users WHERE ('x' || right(id::text, 1))::bit(4)::int % 2 = 0")
    await pair.damage(
        "INSERT INTO users (id, version, email, status, created_at, updated_at)"
        " SELECT gen_random_uuid(), 7, 'ghost@example.org', 'active', now(), now()"
        " FROM generate_series(1, 8)"
    )
    missing = 6000 - len(await fetch(pair.blog, "SELECT 1 FROM users")) + 8

    ended = await pair.reconcile(repair=True, orphans=True)

    assert ended.repaired == {"missing": missing, "orphan": 8}
    assert (ended.verdict, ended.in_flight, ended.compared) == (Verdict.IN_STEP, 0, 6000)
    assert await pair.agrees()


async def test_a_report_names_each_user(pair: Pair) -> None:
    """By id, with both versions and whether he was repaired."""
    [gone] = await pair.ids(LIVING, 1)
    [old] = await pair.ids(f"{LIVING} AND id <> '{gone}'", 1)
    await pair.damage(
        f"DELETE FROM users WHERE id = '{gone}'",
        f"UPDATE users SET version = 5 WHERE id = '{old}'",
    )

    ended = await pair.reconcile(repair=True)

    assert ended.findings is not None
    told = {found["user_id"]: found for found in ended.findings}
    assert told.keys() == {gone, old}
    assert told[gone]["kind"] == "missing"
    assert told[gone]["replica_version"] is None
    assert told[old] | {"source_version": 0} == {
        "user_id": old,
        "kind": "stale",
        "source_version": 0,
        "replica_version": 5,
        "repaired": True,
    }
    assert told[old]["source_version"] > 5


class TestAhead:
    """The replica knows more than the source."""

    async def test_it_is_set_back_only_when_asked_for(self, pair: Pair) -> None:
        """A newer version here may be the right one: an operator has to say that it is not."""
        await pair.damage(f"UPDATE users SET version = {NEW} WHERE email LIKE 'user1_@%'")

        without = await pair.reconcile(repair=True)
        asked = await pair.reconcile(ahead=True)

        assert (without.verdict, without.differing) == (Verdict.DRIFT, {"ahead": 9})
        assert without.repaired == {}
        assert (asked.verdict, asked.repaired) == (Verdict.IN_STEP, {"ahead": 9})
        assert await pair.agrees()

    async def test_an_undone_deletion_is_told_and_left(self, pair: Pair) -> None:
        """Deletion is final: it is the source that has to delete again."""
        [user_id] = await pair.ids(LIVING, 1)
        await pair.damage(
            "UPDATE users SET status = 'deleted', deleted_at = now(), email = NULL, roles = '{}',"
            " tokens_valid_after = NULL, created_at = NULL, updated_at = NULL"
            f" WHERE id = '{user_id}'"
        )

        ended = await pair.reconcile(repair=True, ahead=True, orphans=True)

        assert ended.verdict is Verdict.DRIFT
        assert (ended.differing, ended.repaired) == ({"undone_deletion": 1}, {})
        [row] = await fetch(pair.blog, f"SELECT status FROM users WHERE id = '{user_id}'")
        assert row.status == "deleted"


class TestUnknownToTheSource:
    """Users whom only the replica has."""

    @pytest.fixture
    async def unknown(self, pair: Pair) -> list[UUID]:
        """Three of them."""
        ids = [uuid4() for _ in range(3)]
        await pair.damage(
            *(
                "INSERT INTO users (id, version, email, status, created_at, updated_at)"
                f" VALUES ('{user_id}', 7, 'ghost@example.org', 'active', now(), now())"
                for user_id in ids
            )
        )
        return ids

    async def test_they_are_buried_only_when_asked_for(
        self, pair: Pair, unknown: list[UUID]
    ) -> None:
        """Each becomes a tombstone one version higher, with nothing personal; then both agree."""
        without = await pair.reconcile(repair=True, ahead=True)
        asked = await pair.reconcile(orphans=True)
        again = await pair.reconcile()

        assert (without.verdict, without.differing) == (Verdict.DRIFT, {"orphan": 3})
        assert (asked.verdict, asked.repaired) == (Verdict.IN_STEP, {"orphan": 3})
        assert (again.verdict, again.differing) == (Verdict.IN_STEP, {})
        rows = await fetch(pair.blog, "SELECT * FROM users WHERE version = 8")
        assert {row.id for row in rows} == set(unknown)
        assert {(row.status, row.email) for row in rows} == {("deleted", None)}

    async def test_the_brake_is_all_or_nothing(self, pair: Pair, unknown: list[UUID]) -> None:
        """One more than allowed, and none is deleted; the report says how to allow them."""
        held = await pair.reconcile(orphans=True, deletions_max=2)
        allowed = await pair.reconcile(orphans=True, deletions_max=3)

        assert (held.verdict, held.repaired) == (Verdict.DRIFT, {})
        assert held.explanation is not None
        assert "--max-deletions" in held.explanation
        assert (allowed.verdict, allowed.repaired) == (Verdict.IN_STEP, {"orphan": len(unknown)})

    async def test_a_provisional_one_is_removed(self, pair: Pair) -> None:
        """He is an id and nothing else, so no tombstone has to remember him."""
        user_id = uuid4()
        await pair.damage(
            f"INSERT INTO users (id, version, status) VALUES ('{user_id}', 0, 'provisional')"
        )

        looked = await pair.reconcile()
        asked = await pair.reconcile(orphans=True)

        assert looked.differing == {"provisional_orphan": 1}
        assert (asked.verdict, asked.repaired) == (Verdict.IN_STEP, {"provisional_orphan": 1})
        assert await fetch(pair.blog, f"SELECT 1 FROM users WHERE id = '{user_id}'") == []

    async def test_a_provisional_user_of_the_source_is_only_missing(self, pair: Pair) -> None:
        """His event was lost, and he is completed."""
        [user_id] = await pair.ids(LIVING, 1)
        await pair.damage(
            f"DELETE FROM users WHERE id = '{user_id}'",
            f"INSERT INTO users (id, version, status) VALUES ('{user_id}', 0, 'provisional')",
        )

        ended = await pair.reconcile(repair=True)

        assert ended.repaired == {"missing": 1}
        assert await pair.agrees()


class TestInFlight:
    """What is on its way is not drift."""

    async def test_an_unpublished_event_is_in_flight(self, pair: Pair) -> None:
        """The source says so of its users, who are then neither counted as drift nor repaired."""
        await pair.damage("DELETE FROM users WHERE email LIKE 'user1_@%'")
        columns = ", ".join(replica.COLUMNS)
        rows = await fetch(
            pair.auth,
            f"SELECT {columns} FROM users WHERE email LIKE 'user1_@%'",
        )
        tally = Tally()
        async with session(pair.settings) as connection:
            async with connection.begin():
                for row in rows:
                    await connection.execute(
                        text(
                            f"INSERT INTO staged ({columns}, unpublished)"
                            f" VALUES ({', '.join(f':{name}' for name in replica.COLUMNS)}, true)"
                        ),
                        dict(row._mapping),
                    )
            await step(
                connection, 0, BATCH_PAGES, repairable(repair=True, ahead=True, orphans=True), tally
            )

        assert (tally.in_flight, tally.differing, tally.repaired) == (len(rows), {}, {})
        assert len(rows) == 9
        assert not await pair.agrees()

    async def test_under_live_traffic_nothing_is_called_drift(self, pair: Pair) -> None:
        """However fast users change while they are compared, what is late is never called lost."""
        ids = [row.id for row in await fetch(pair.auth, f"SELECT id FROM users WHERE {LIVING}")]
        done = asyncio.Event()

        async def change_all() -> int:
            changes = 0
            while not done.is_set():
                for user_id in ids:
                    async with pair.auth.begin() as connection:
                        await change(connection, user_id, email_verified=changes % 2 == 0)
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
        """Never "in step", and never drift: nobody can tell what is lost and what is late."""
        await pair.damage("DELETE FROM users WHERE email = 'user1@example.org'")
        hasty = pair.settings.model_copy(update={"reconcile_wait_seconds": 0.001})

        ended = await pair.reconcile(repair=True, settings=hasty)

        assert ended.verdict is Verdict.COULD_NOT_COMPARE
        assert ended.explanation is not None
        assert "heartbeat" in ended.explanation
        assert not await pair.agrees()


class TestNoVerdict:
    """Whatever goes wrong on the way is no verdict, with a sentence that says what to do."""

    async def test_of_a_source_that_is_away(self, pair: Pair, unused_port: int) -> None:
        """Nobody listens."""
        away = pair.settings.model_copy(update={"auth_url": f"http://127.0.0.1:{unused_port}"})

        ended = await pair.reconcile(settings=away)

        assert ended.verdict is Verdict.COULD_NOT_COMPARE
        assert "BLOG_AUTH_URL" in str(ended.explanation)

    async def test_with_a_wrong_key(self, pair: Pair) -> None:
        """The remedy is a new key."""
        wrong = pair.settings.model_copy(update={"service_id": "svc_0000000000000000"})

        ended = await pair.reconcile(settings=wrong)

        assert ended.verdict is Verdict.COULD_NOT_COMPARE
        assert "rotate-key" in str(ended.explanation)

    async def test_of_a_database_that_breaks_off(self, pair: Pair) -> None:
        """The replica's own, in the middle of the answer: a sentence, and no end of the process."""
        await pair.damage("TRUNCATE users")
        ending = asyncio.create_task(_end_copy(pair))

        ended = await pair.reconcile(repair=True)

        assert await ending
        assert ended.verdict is Verdict.COULD_NOT_COMPARE
        assert "broke off" in str(ended.explanation)

    async def test_of_another_source(self, pair: Pair) -> None:
        """One that was put in the place of the one that this replica follows."""
        await pair.reconcile()
        await execute(pair.auth, "UPDATE source SET identity = gen_random_uuid()")
        await pair.damage("DELETE FROM users WHERE email = 'user1@example.org'")

        ended = await pair.reconcile(repair=True)

        assert ended.verdict is Verdict.COULD_NOT_COMPARE
        assert "--accept-source" in str(ended.explanation)
        assert not await pair.agrees()


async def test_however_often_there_is_none_the_source_is_remembered(pair: Pair) -> None:
    """A thousand failures do not make another source acceptable."""
    await pair.reconcile()
    await execute(pair.auth, "UPDATE source SET identity = gen_random_uuid()")
    await pair.damage(
        "INSERT INTO reconcile_runs (reason, repairs, deletions_max, requested_at, started_at,"
        " finished_at, verdict) SELECT 'gap', '{}', 0, now(), now(), now() + n * interval '1 ms',"
        " 'could_not_compare' FROM generate_series(1, 1100) AS n"
    )

    ended = await pair.reconcile()

    kept = await fetch(pair.blog, "SELECT count(*) FROM reconcile_runs")
    assert kept[0][0] == KEPT_MAX + 1
    assert "--accept-source" in str(ended.explanation)


async def test_only_a_repair_answers_a_suspicion(pair: Pair) -> None:
    """Who looks and finds drift leaves it to be repaired by itself."""
    await eventually(lambda: fetch(pair.blog, "SELECT 1 FROM heartbeats"))
    await pair.damage("DELETE FROM users WHERE email = 'user1@example.org'")
    await pair.damage(
        "UPDATE heartbeats SET suspicion = 'gap', suspected_at = now() - interval '1 second'"
    )

    await pair.reconcile()
    looked = await fetch(pair.blog, "SELECT suspicion FROM heartbeats")
    await pair.reconcile(repair=True)
    repaired = await fetch(pair.blog, "SELECT suspicion FROM heartbeats")

    assert [row.suspicion for row in looked] == ["gap"]
    assert [row.suspicion for row in repaired] == [None]


async def test_more_tombstones_than_locks(pair: Pair) -> None:
    """A batch of nothing but tombstones is split: the table of locks is the whole server's."""
    await execute(pair.auth, "TRUNCATE users CASCADE")
    await pair.fill(3000, one_in=1, replica=False)
    await pair.damage("TRUNCATE users")

    ended = await pair.reconcile(repair=True)

    assert ended.repaired == {"missing": 3000}
    assert await pair.agrees()


async def test_two_at_once_do_no_harm(pair: Pair) -> None:
    """Both end in step, and together they repaired each user once or agree that another did."""
    await pair.damage(
        "DELETE FROM users WHERE email LIKE 'user1%'",
        "UPDATE users SET email = 'x' || email WHERE email LIKE 'user2%'",
    )

    ended = await asyncio.gather(pair.reconcile(repair=True), pair.reconcile(repair=True))

    assert {run.verdict for run in ended} == {Verdict.IN_STEP}
    assert await pair.agrees()


async def test_what_is_parked_of_a_user_goes_with_his_tombstone(pair: Pair) -> None:
    """A repair that deletes a user erases as much as his event would have."""
    [dead] = await pair.ids(DEAD, 1)
    await pair.damage(
        "UPDATE users SET deleted_at = NULL, status = 'active', created_at = now(),"
        f" updated_at = now(), email = 'back@example.org' WHERE id = '{dead}'",
        "INSERT INTO parked_messages (message_hash, user_id, reason, error, exchange, routing_key,"
        f" properties, body) VALUES ('h', '{dead}', 'invalid_data', 'x', 'users', 'user.updated',"
        " '{}', 'personal')",
    )

    await pair.reconcile(repair=True)

    [row] = await fetch(pair.blog, "SELECT body FROM parked_messages")
    assert row.body is None
    assert await pair.agrees()
