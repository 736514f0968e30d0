"""``/v1/sync``: operators read the status and start comparisons; readiness and metrics follow."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.events import Beat
from replica.certificates.store import append
from replica.reconcile.model import Kind
from replica.reconcile.run_locks import end_abandoned, hold
from replica.status.bodies import ProofBody
from replica.status.routes import WAITING_MAX
from tests.support.auth_api import assert_problem
from tests.support.blog_api import blog_api, metric
from tests.support.builders import a_state, a_tombstone
from tests.support.certificates import Issuer
from tests.support.content import People
from tests.support.database_sessions import committed, holding
from tests.support.eventually import eventually
from tests.support.inbox import apply_events, execute, fetch
from tests.support.parked_messages import park_deliveries, rubbish
from tests.support.reconciling import DAMAGE, Pair, watching
from tests.support.settings import having

STATUS, SAMPLES = "/v1/sync/status", "/v1/sync/samples"
PROOFS = "/v1/sync/proofs"
RECONCILE, REPLAYS = "/v1/sync/reconcile", "/v1/sync/replays"
ROUTES = [
    ("GET", STATUS, None),
    ("GET", SAMPLES, None),
    ("GET", PROOFS, None),
    ("GET", RECONCILE, None),
    ("GET", REPLAYS, None),
    ("POST", RECONCILE, {}),
    ("GET", f"{RECONCILE}/{uuid4()}", None),
    ("POST", REPLAYS, {}),
    ("GET", f"{REPLAYS}/{uuid4()}", None),
    ("PATCH", f"{REPLAYS}/{uuid4()}", {"state": "paused"}),
]
OPERATOR = a_state(roles=("operator",))
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
async def blog(people: People) -> People:
    await people.apply(OPERATOR)
    people.act_as(OPERATOR.id)
    return people


@pytest.fixture
async def operator(people: People, pair: Pair) -> People:
    people.act_as(await pair.make_operator())
    return people


async def test_only_operators_have_access(people: People) -> None:
    admin = await people.user(roles=("admin", "moderator"))
    for method, path, body in ROUTES:
        anonymous = await people.ask(None, method, path, body)
        assert_problem(anonymous, 401, "authentication_required")
        assert_problem(await people.ask(admin, method, path, body), 403, "forbidden")
    assert await fetch(people.engine, "SELECT 1 FROM reconcile_runs") == []


NOT_PROVED: dict[str, Any] = {
    "state": "unknown",
    "text": "not proved: proofs are off",
    **dict.fromkeys(ProofBody.model_fields.keys() - {"state", "text", "kinds", "findings"}),
    "kinds": {},
    "findings": [],
}
"""What the status shows while no consumer makes proofs."""

NO_AGREEMENT = {
    "text": "agreement: not known yet",
    **dict.fromkeys(("hour", "day", "month", "certified_at")),
}


class TestStatus:
    """``GET /v1/sync/status``."""

    async def test_an_empty_replica_has_null_for_unknown_values(self, blog: People) -> None:
        response = await blog.client.get(STATUS)

        assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")
        known = {name: value for name, value in response.json().items() if value is not None}
        assert known.pop("last_applied_at")
        figures = ("consumers", "consumers_stopped", "users_deleted", "users_provisional")
        assert known == {
            **dict.fromkeys((*figures, "parked_messages", "waiting_messages"), 0),
            "proof": NOT_PROVED,
            "agreement": NO_AGREEMENT,
            "pipe": "broken: no consumer has ever been at work",
            "users": 1,
            "highest_version": 1,
            "degraded": "empty",
        }

    async def test_values_come_from_the_database(self, blog: People) -> None:
        await apply_events(blog.engine, a_state(version=70), a_tombstone(version=9), Beat(number=5))
        await park_deliveries(blog.engine, rubbish())
        await execute(
            blog.engine,
            "UPDATE heartbeats SET recorded_at = now() - interval '7 seconds'",
            f"INSERT INTO users (id, version, status) VALUES ('{uuid4()}', 0, 'provisional')",
            "INSERT INTO reconcile_runs (reason, repairs, deletions_max, started_at, finished_at,"
            " verdict, compared, differing, repaired, explanation) VALUES"
            " ('schedule', '{}', 1, now(), now() - interval '1 hour', 'in_step', 1, '{}', '{}',"
            "  NULL),"
            " ('gap', '{missing}', 1, now(), now(), 'drift', 42, '{\"missing\": 5, \"ahead\": 2}',"
            "  '{\"missing\": 4}', 'the brake held')",
            "INSERT INTO samples (taken_at, process, state, latency_seconds, applied, queue_depth,"
            " urgent_queue_depth, replay_queue_depth, dead_queue_depth) VALUES"
            " (now() - interval '3 seconds', gen_random_uuid(), 'consuming', 0.5, 1, 7, 6, 8, 9)",
        )

        shown = (await blog.client.get(STATUS)).json()

        users = "SELECT max(applied_at) AS last_applied_at FROM users"
        runs = "SELECT max(finished_at) AS last_reconcile_at FROM reconcile_runs"
        for query in (users, runs):
            [row] = await fetch(blog.engine, query)
            [[name, time]] = row._mapping.items()
            assert _time(shown.pop(name)) == time
        assert 7 <= shown.pop("last_heartbeat_age_seconds") < 60
        assert 3 <= shown.pop("consumer_age_seconds") < 60
        waiting = ("waiting_oldest_seconds", "waiting_for", "waiting_reasons")
        assert shown == {
            "proof": NOT_PROVED,
            "agreement": NO_AGREEMENT,
            "pipe": "consuming",
            "users": 2,
            "users_deleted": 1,
            "users_provisional": 1,
            "highest_version": 70,
            "parked_messages": 1,
            "waiting_messages": 0,
            "last_heartbeat": 5,
            "queue_depth": 7,
            "urgent_queue_depth": 6,
            "replay_queue_depth": 8,
            "dead_queue_depth": 9,
            "consumers": 1,
            "consumers_stopped": 0,
            "lag_seconds": 0.5,
            **dict.fromkeys((*waiting, "clock", "degraded", "reconcile_trouble")),
            "last_reconcile": "drift",
            "last_reconcile_reason": "gap",
            "last_reconcile_users": 42,
            "last_reconcile_differing": 7,
            "last_reconcile_repaired": 4,
            "last_reconcile_explanation": "the brake held",
        }


class TestReconcile:
    """``POST /v1/sync/reconcile`` and ``GET /v1/sync/reconcile/{id}``."""

    async def test_a_consumer_starts_a_requested_run(self, pair: Pair, operator: People) -> None:
        [user_id] = await pair.ids("roles = '{operator}'", 1)
        await pair.reconcile()
        await pair.damage(DAMAGE["corrupt"], DAMAGE["ahead"])

        response = await operator.client.post(RECONCILE, json={"repair": True})
        asked = response.json()
        async with watching(pair):
            done = await eventually(lambda: _finished(operator, asked["id"]))

        assert response.status_code == 202
        assert (asked["started_at"], asked["finished_at"], asked["verdict"]) == (None, None, None)
        assert asked["repairs"] == ["corrupt", "missing", "stale", "undeleted"]
        assert done["requested_by"] == f"user:{user_id}"
        assert (done["reason"], done["verdict"], done["compared"]) == ("operator", "drift", 200)
        assert (done["differing"], done["repaired"]) == ({"corrupt": 1, "ahead": 1}, {"corrupt": 1})
        found = {finding["kind"]: finding["repaired"] for finding in done["findings"]}
        assert found == {"corrupt": True, "ahead": False}
        times = [_time(done[f"{name}_at"]) for name in ("requested", "started", "finished")]
        assert times == sorted(times)

    async def test_options_of_a_request_are_stored(self, blog: People) -> None:
        everything = {"repair": True, "ahead": True, "orphans": True, "max_deletions": 3}

        some = await blog.client.post(RECONCILE, json=everything)
        none = await blog.client.post(RECONCILE, json={})

        stored = "SELECT deletions_max FROM reconcile_runs ORDER BY requested_at"
        rows = await fetch(blog.engine, stored)
        assert set(some.json()["repairs"]) == set(Kind) - {Kind.UNDONE_DELETION}
        assert none.json()["repairs"] == []
        assert [row.deletions_max for row in rows] == [3, 10]

    async def test_the_number_of_waiting_runs_is_limited(self, blog: People) -> None:
        """Without a consumer they would accumulate; one too many gets 503."""
        responses = [await blog.client.post(RECONCILE, json={}) for _ in range(WAITING_MAX + 1)]
        assert {response.status_code for response in responses[:-1]} == {202}
        assert "consumer" in assert_problem(responses[-1], 503, "busy")["detail"]
        assert len(await fetch(blog.engine, "SELECT 1 FROM reconcile_runs")) == WAITING_MAX

    async def test_unknown_ids_and_invalid_fields_are_refused(self, blog: People) -> None:
        unknown = await blog.client.get(f"{RECONCILE}/{uuid4()}")
        wrong = await blog.client.post(RECONCILE, json={"max_deletions": -1, "dry_run": True})
        assert_problem(unknown, 404, "not_found")
        errors = assert_problem(wrong, 422, "invalid_request")["errors"]
        assert {error["pointer"] for error in errors} == {"/body/max_deletions", "/body/dry_run"}

    async def test_the_list_is_paged_with_the_newest_first(self, blog: People) -> None:
        made = [(await blog.client.post(RECONCILE, json={})).json()["id"] for _ in range(3)]

        first = (await blog.client.get(f"{RECONCILE}?limit=2")).json()
        await blog.client.post(RECONCILE, json={})
        path = f"{RECONCILE}?limit=2&cursor={first['next_cursor']}"
        second = (await blog.client.get(path)).json()

        assert [run["id"] for run in first["items"]] == made[:0:-1]
        assert [run["id"] for run in second["items"]] == made[:1]
        assert second["next_cursor"] is None
        assert {run["state"] for run in first["items"]} == {"waiting"}
        assert all("findings" not in run for run in first["items"])

    async def test_a_request_that_no_consumer_starts_expires(
        self, pair: Pair, operator: People
    ) -> None:
        """A consumer that comes later ends the run without starting it."""
        await pair.reconcile()
        asked = (await operator.client.post(RECONCILE, json={"orphans": True})).json()
        earlier = "requested_at = requested_at - interval '11 minutes'"
        await pair.damage(f"UPDATE reconcile_runs SET {earlier} WHERE id = '{asked['id']}'")

        shown = (await operator.client.get(f"{RECONCILE}/{asked['id']}")).json()
        async with watching(pair):
            ended = await eventually(lambda: _finished(operator, asked["id"]))

        assert (asked["state"], shown["state"], ended["state"]) == ("waiting", "lapsed", "ended")
        assert "no consumer started it" in shown["explanation"]
        assert (ended["verdict"], ended["started_at"]) == ("could_not_compare", None)
        assert ended["explanation"] == shown["explanation"]

    async def test_a_run_whose_process_died_is_abandoned(
        self, pair: Pair, operator: People
    ) -> None:
        """A run is alive while its process has the lock, however long it takes."""
        asked = (await operator.client.post(RECONCILE, json={})).json()
        await pair.damage("UPDATE reconcile_runs SET started_at = now() - interval '1 hour'")
        path = f"{RECONCILE}/{asked['id']}"

        async with hold(pair.blog, UUID(asked["id"])):
            alive = (await operator.client.get(path)).json()
            assert list(await end_abandoned(pair.blog, command="blog-service")) == []
        dead = (await operator.client.get(path)).json()
        [given_up] = await end_abandoned(pair.blog, command="blog-service")
        ended = (await operator.client.get(path)).json()

        assert (alive["state"], alive["explanation"]) == ("running", None)
        assert (dead["state"], dead["finished_at"]) == ("broken_off", None)
        assert "its worker exited" in dead["explanation"]
        assert (str(given_up.id), given_up.verdict) == (asked["id"], "could_not_compare")
        assert (ended["state"], ended["explanation"]) == ("ended", dead["explanation"])

    async def test_a_running_comparison_shows_its_progress(
        self, pair: Pair, operator: People
    ) -> None:
        """Here while it waits for a heartbeat; an ended run shows none."""
        await pair.damage(DAMAGE["corrupt"])

        async def newest() -> dict[str, Any]:
            runs: list[dict[str, Any]] = (await operator.client.get(RECONCILE)).json()["items"]
            assert [run["phase"] for run in runs] == ["arriving"]
            return runs[0]

        # This delays heartbeats, and the query that looks for one.
        async with holding(pair.blog, "LOCK TABLE heartbeats"):
            comparing = asyncio.create_task(pair.reconcile())
            held_up = await eventually(newest)
        ended = await comparing

        assert (held_up["state"], held_up["verdict"]) == ("running", None)
        assert (held_up["done"], held_up["total"]) == (0, None)
        assert (ended.verdict, ended.phase, ended.done) == ("drift", None, None)


class TestReadiness:
    """``/readyz`` and ``/metrics`` of the API."""

    async def test_the_api_is_degraded_until_the_first_comparison(
        self, pair: Pair, people: People
    ) -> None:
        """By default it is ready all the same; a setting makes it refuse, and a metric shows it."""
        async with blog_api(having(people.settings, refuse_while_degraded=True)) as refusing:

            async def ready() -> list[tuple[int, Any]]:
                answers = [await client.get("/readyz") for client in (people.client, refusing)]
                return [(answer.status_code, answer.json()) for answer in answers]

            before, metrics_before = await ready(), await _metrics(people)
            ended = await pair.reconcile()
            after, metrics_after = await ready(), await _metrics(people)

        degraded = {"status": "degraded", "reason": "empty"}
        assert before == [(200, degraded), (503, {"status": "not ready", "reason": "Degraded"})]
        assert after == [(200, {"status": "ok"})] * 2
        assert ended.source_at is not None
        compared_at = ended.source_at.timestamp()
        for metrics, is_degraded, at in [(metrics_before, 1, 0), (metrics_after, 0, compared_at)]:
            assert metric(metrics, "usersync_degraded") == is_degraded
            assert metric(metrics, COMPARED_AT) == pytest.approx(at, abs=0.001)

    async def test_metrics_count_unrepaired_users_by_kind(self, pair: Pair, people: People) -> None:
        nothing = dict.fromkeys(Kind, 0)
        assert await _differing(people) == nothing
        ahead = "UPDATE users SET version = version + 1 WHERE email LIKE 'user4_@example.org'"
        two = "DELETE FROM users WHERE email IN ('user1@example.org', 'user2@example.org')"
        await pair.damage(two, ahead, DAMAGE["corrupt"])
        await pair.reconcile()
        found = await _differing(people)

        await pair.reconcile(repair=True)
        left = await _differing(people)
        at = metric(await _metrics(people), COMPARED_AT)
        failed = await pair.reconcile(settings=having(pair.settings, auth_url=NOWHERE))

        assert found == {**nothing, Kind.MISSING: 2, Kind.AHEAD: 9, Kind.CORRUPT: 1}
        assert left == {**nothing, Kind.AHEAD: 9}
        assert failed.verdict == "could_not_compare"
        assert await _differing(people) == left
        assert metric(await _metrics(people), COMPARED_AT) == at


COMPARED_AT = "usersync_last_reconciled_timestamp_seconds"


async def _metrics(people: People) -> str:
    return (await people.client.get("/metrics")).text


async def _differing(people: People) -> dict[Kind, float]:
    text, name = await _metrics(people), "usersync_reconcile_differing_users"
    return {kind: metric(text, f'{name}{{kind="{kind}"}}') for kind in Kind}


async def _finished(people: People, run_id: str) -> dict[str, Any]:
    run: dict[str, Any] = (await people.client.get(f"{RECONCILE}/{run_id}")).json()
    return run if run["finished_at"] else {}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


class TestProofs:
    """``GET /v1/sync/proofs``."""

    async def test_certificates_are_listed_newest_first(self, blog: People) -> None:
        chain = Issuer().chain(3)
        for each in chain:
            await committed(blog.engine, append, each, before=None)
        await execute(blog.engine, "UPDATE proofs SET certificate = 'x' WHERE number = 1")

        first = (await blog.client.get(PROOFS, params={"limit": 2})).json()
        more = {"cursor": first["next_cursor"]}
        last = (await blog.client.get(PROOFS, params=more)).json()

        items = [*first["items"], *last["items"]]
        assert [item["hash"] for item in items] == [each.hash for each in reversed(chain)]
        assert [item["certificate"] for item in first["items"]] == [chain[2].text, chain[1].text]
        assert first["items"][0]["says"] == chain[2].certificate.payload()
        assert (items[-1]["says"], last["next_cursor"]) == (None, None)
