"""``/v1/sync``: operators read the status and start comparisons; readiness and metrics follow."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.settings import ApiSettings
from contracts.events import Beat
from replica.certificates.store import append
from replica.reconcile.model import Kind
from replica.reconcile.run_locks import end_abandoned, hold
from replica.status.bodies import ProofBody
from replica.status.routes import WAITING_MAX
from tests.support.auth_api import assert_problem
from tests.support.blog_api import a_token, blog_api, metric
from tests.support.builders import SOURCE, a_state, a_tombstone
from tests.support.certificates import Issuer
from tests.support.eventually import eventually
from tests.support.inbox import apply_events, execute, fetch
from tests.support.parked_messages import park_deliveries, rubbish
from tests.support.reconciling import Pair, watching

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


@pytest.fixture
def settings(blog_url: str, public_pem: str) -> ApiSettings:
    return ApiSettings(_env_file=None, database_url=blog_url, public_key=public_pem, issuer=SOURCE)


@pytest.fixture
async def blog(settings: ApiSettings) -> AsyncIterator[httpx.AsyncClient]:
    async with blog_api(settings) as client:
        yield client


@pytest.fixture
async def operator(blog_engine: AsyncEngine, signing_key: rsa.RSAPrivateKey) -> dict[str, str]:
    await apply_events(blog_engine, OPERATOR)
    return bearer(signing_key, OPERATOR.id)


def bearer(key: rsa.RSAPrivateKey, subject: UUID) -> dict[str, str]:
    return {"Authorization": f"Bearer {a_token(key, subject)}"}


async def test_only_operators_have_access(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, signing_key: rsa.RSAPrivateKey
) -> None:
    admin = a_state(roles=("admin", "moderator"))
    await apply_events(blog_engine, admin)

    for method, path, body in ROUTES:
        anonymous = await blog.request(method, path, json=body)
        other = await blog.request(method, path, json=body, headers=bearer(signing_key, admin.id))

        assert_problem(anonymous, 401, "authentication_required")
        assert_problem(other, 403, "forbidden")
    assert await fetch(blog_engine, "SELECT 1 FROM reconcile_runs") == []


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

    async def test_an_empty_replica_has_null_for_unknown_values(
        self, blog: httpx.AsyncClient, operator: dict[str, str]
    ) -> None:
        response = await blog.get(STATUS, headers=operator)

        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        known = {name: value for name, value in response.json().items() if value is not None}
        assert known.pop("last_applied_at")
        assert known == {
            "proof": NOT_PROVED,
            "agreement": NO_AGREEMENT,
            "pipe": "broken: no consumer has ever been at work",
            "consumers": 0,
            "consumers_stopped": 0,
            "users": 1,
            "users_deleted": 0,
            "users_provisional": 0,
            "highest_version": 1,
            "parked_messages": 0,
            "waiting_messages": 0,
            "degraded": "empty",
        }

    async def test_values_come_from_the_database(
        self, blog: httpx.AsyncClient, blog_engine: AsyncEngine, operator: dict[str, str]
    ) -> None:
        await apply_events(blog_engine, a_state(version=70), a_tombstone(version=9), Beat(number=5))
        await park_deliveries(blog_engine, rubbish())
        await execute(
            blog_engine,
            "UPDATE heartbeats SET recorded_at = now() - interval '7 seconds'",
            f"INSERT INTO users (id, version, status) VALUES ('{uuid4()}', 0, 'provisional')",
            "INSERT INTO reconcile_runs (reason, repairs, deletions_max, started_at, finished_at,"
            " verdict, compared, differing, repaired, explanation) VALUES"
            " ('schedule', '{}', 1, now(), now() - interval '1 hour', 'in_step', 1, '{}', '{}',"
            "  NULL),"
            " ('gap', '{missing}', 1, now(), now(), 'drift', 42, '{\"missing\": 5, \"ahead\": 2}',"
            "  '{\"missing\": 4}', 'the brake held')",
            "INSERT INTO samples (taken_at, process, state, latency_seconds, applied, queue_depth,"
            " replay_queue_depth, dead_queue_depth) VALUES"
            " (now() - interval '3 seconds', gen_random_uuid(), 'consuming', 0.5, 1, 7, 8, 9)",
        )

        shown = (await blog.get(STATUS, headers=operator)).json()

        [row] = await fetch(
            blog_engine,
            "SELECT (SELECT max(applied_at) FROM users) AS applied_at,"
            " (SELECT max(finished_at) FROM reconcile_runs) AS finished_at",
        )
        times = {name: _time(shown.pop(name)) for name in ("last_applied_at", "last_reconcile_at")}
        assert times == {"last_applied_at": row.applied_at, "last_reconcile_at": row.finished_at}
        assert 7 <= shown.pop("last_heartbeat_age_seconds") < 60
        assert 3 <= shown.pop("consumer_age_seconds") < 60
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
            "waiting_oldest_seconds": None,
            "waiting_for": None,
            "waiting_reasons": None,
            "last_heartbeat": 5,
            "queue_depth": 7,
            "replay_queue_depth": 8,
            "dead_queue_depth": 9,
            "consumers": 1,
            "consumers_stopped": 0,
            "lag_seconds": 0.5,
            "clock": None,
            "degraded": None,
            "last_reconcile": "drift",
            "last_reconcile_reason": "gap",
            "last_reconcile_users": 42,
            "last_reconcile_differing": 7,
            "last_reconcile_repaired": 4,
            "last_reconcile_explanation": "the brake held",
            "reconcile_trouble": None,
        }


class TestReconcile:
    """``POST /v1/sync/reconcile`` and ``GET /v1/sync/reconcile/{id}``."""

    async def test_a_consumer_starts_a_requested_run(
        self, pair: Pair, blog: httpx.AsyncClient, signing_key: rsa.RSAPrivateKey
    ) -> None:
        operator = await pair.make_operator()
        headers = bearer(signing_key, operator)
        await pair.reconcile()
        await pair.damage(
            "UPDATE users SET email = 'x' WHERE email = 'user2@example.org'",
            "UPDATE users SET version = version + 1 WHERE email = 'user3@example.org'",
        )

        response = await blog.post(RECONCILE, json={"repair": True}, headers=headers)
        asked = response.json()
        async with watching(pair):
            done = await eventually(lambda: _finished(blog, asked["id"], headers))

        assert response.status_code == 202
        assert (asked["started_at"], asked["finished_at"], asked["verdict"]) == (None, None, None)
        assert asked["repairs"] == ["corrupt", "missing", "stale", "undeleted"]
        assert done["requested_by"] == f"user:{operator}"
        assert (done["reason"], done["verdict"], done["compared"]) == ("operator", "drift", 200)
        assert (done["differing"], done["repaired"]) == ({"corrupt": 1, "ahead": 1}, {"corrupt": 1})
        assert {finding["kind"]: finding["repaired"] for finding in done["findings"]} == {
            "corrupt": True,
            "ahead": False,
        }
        assert _time(done["requested_at"]) <= _time(done["started_at"])
        assert _time(done["started_at"]) <= _time(done["finished_at"])

    async def test_options_of_a_request_are_stored(
        self, blog: httpx.AsyncClient, blog_engine: AsyncEngine, operator: dict[str, str]
    ) -> None:
        everything = {"repair": True, "ahead": True, "orphans": True, "max_deletions": 3}

        some = await blog.post(RECONCILE, json=everything, headers=operator)
        none = await blog.post(RECONCILE, json={}, headers=operator)

        rows = await fetch(
            blog_engine, "SELECT repairs, deletions_max FROM reconcile_runs ORDER BY requested_at"
        )
        assert set(some.json()["repairs"]) == set(Kind) - {Kind.UNDONE_DELETION}
        assert none.json()["repairs"] == []
        assert [row.deletions_max for row in rows] == [3, 10]

    async def test_the_number_of_waiting_runs_is_limited(
        self, blog: httpx.AsyncClient, blog_engine: AsyncEngine, operator: dict[str, str]
    ) -> None:
        """Without a consumer they would accumulate; one too many gets 503."""
        responses = [
            await blog.post(RECONCILE, json={}, headers=operator) for _ in range(WAITING_MAX + 1)
        ]

        assert {response.status_code for response in responses[:-1]} == {202}
        refused = assert_problem(responses[-1], 503, "busy")
        assert "consumer" in refused["detail"]
        assert len(await fetch(blog_engine, "SELECT 1 FROM reconcile_runs")) == WAITING_MAX

    async def test_unknown_ids_and_invalid_fields_are_refused(
        self, blog: httpx.AsyncClient, operator: dict[str, str]
    ) -> None:
        unknown = await blog.get(f"{RECONCILE}/{uuid4()}", headers=operator)
        wrong = await blog.post(
            RECONCILE, json={"max_deletions": -1, "dry_run": True}, headers=operator
        )

        assert_problem(unknown, 404, "not_found")
        errors = assert_problem(wrong, 422, "invalid_request")["errors"]
        assert {error["pointer"] for error in errors} == {"/body/max_deletions", "/body/dry_run"}

    async def test_the_list_is_paged_with_the_newest_first(
        self, blog: httpx.AsyncClient, operator: dict[str, str]
    ) -> None:
        made = [
            (await blog.post(RECONCILE, json={}, headers=operator)).json()["id"] for _ in range(3)
        ]

        first = (await blog.get(f"{RECONCILE}?limit=2", headers=operator)).json()
        await blog.post(RECONCILE, json={}, headers=operator)
        path = f"{RECONCILE}?limit=2&cursor={first['next_cursor']}"
        second = (await blog.get(path, headers=operator)).json()

        assert [run["id"] for run in first["items"]] == made[:0:-1]
        assert [run["id"] for run in second["items"]] == made[:1]
        assert second["next_cursor"] is None
        assert {run["state"] for run in first["items"]} == {"waiting"}
        assert all("findings" not in run for run in first["items"])

    async def test_a_request_that_no_consumer_starts_expires(
        self, pair: Pair, blog: httpx.AsyncClient, signing_key: rsa.RSAPrivateKey
    ) -> None:
        """A consumer that comes later ends the run without starting it."""
        headers = bearer(signing_key, await pair.make_operator())
        await pair.reconcile()
        asked = (await blog.post(RECONCILE, json={"orphans": True}, headers=headers)).json()
        await pair.damage(
            "UPDATE reconcile_runs SET requested_at = requested_at - interval '11 minutes'"
            f" WHERE id = '{asked['id']}'"
        )

        shown = (await blog.get(f"{RECONCILE}/{asked['id']}", headers=headers)).json()
        async with watching(pair):
            ended = await eventually(lambda: _finished(blog, asked["id"], headers))

        assert (asked["state"], shown["state"], ended["state"]) == ("waiting", "lapsed", "ended")
        assert "no consumer started it" in shown["explanation"]
        assert (ended["verdict"], ended["started_at"]) == ("could_not_compare", None)
        assert ended["explanation"] == shown["explanation"]

    async def test_a_run_whose_process_died_is_abandoned(
        self, pair: Pair, blog: httpx.AsyncClient, signing_key: rsa.RSAPrivateKey
    ) -> None:
        """A run is alive while its process has the lock, however long it takes."""
        headers = bearer(signing_key, await pair.make_operator())
        asked = (await blog.post(RECONCILE, json={}, headers=headers)).json()
        await pair.damage("UPDATE reconcile_runs SET started_at = now() - interval '1 hour'")
        path = f"{RECONCILE}/{asked['id']}"

        async with hold(pair.blog, UUID(asked["id"])):
            alive = (await blog.get(path, headers=headers)).json()
            assert list(await end_abandoned(pair.blog, command="blog-service")) == []
        dead = (await blog.get(path, headers=headers)).json()
        [given_up] = await end_abandoned(pair.blog, command="blog-service")
        ended = (await blog.get(path, headers=headers)).json()

        assert (alive["state"], alive["explanation"]) == ("running", None)
        assert (dead["state"], dead["finished_at"]) == ("broken_off", None)
        assert "its worker exited" in dead["explanation"]
        assert (str(given_up.id), given_up.verdict) == (asked["id"], "could_not_compare")
        assert (ended["state"], ended["explanation"]) == ("ended", dead["explanation"])

    async def test_a_running_comparison_shows_its_progress(
        self, pair: Pair, blog: httpx.AsyncClient, signing_key: rsa.RSAPrivateKey
    ) -> None:
        """Here while it waits for a heartbeat; an ended run shows none."""
        headers = bearer(signing_key, await pair.make_operator())
        await pair.damage("UPDATE users SET email = 'x' WHERE email = 'user2@example.org'")

        async def newest() -> dict[str, Any]:
            run: dict[str, Any] = (await blog.get(RECONCILE, headers=headers)).json()["items"][0]
            assert run["phase"] == "arriving"
            return run

        async with pair.blog.begin() as connection:
            # This delays heartbeats, and the query that looks for one.
            await connection.execute(text("LOCK TABLE heartbeats"))
            comparing = asyncio.create_task(pair.reconcile())
            held_up = await eventually(newest)
        ended = await comparing

        assert (held_up["state"], held_up["verdict"]) == ("running", None)
        assert (held_up["done"], held_up["total"]) == (0, None)
        assert (ended.verdict, ended.phase, ended.done) == ("drift", None, None)


class TestReadiness:
    """``/readyz`` and ``/metrics`` of the API."""

    async def test_the_api_is_degraded_until_the_first_comparison(
        self, pair: Pair, settings: ApiSettings, blog: httpx.AsyncClient
    ) -> None:
        """By default it is ready all the same; a setting makes it refuse, and a metric shows it."""
        strict = settings.model_copy(update={"refuse_while_degraded": True})
        async with blog_api(strict) as refusing:
            before = [await client.get("/readyz") for client in (blog, refusing)]
            metrics_before = (await blog.get("/metrics")).text
            ended = await pair.reconcile()
            after = [await client.get("/readyz") for client in (blog, refusing)]
            metrics_after = (await blog.get("/metrics")).text

        assert [response.status_code for response in before] == [200, 503]
        assert before[0].json() == {"status": "degraded", "reason": "empty"}
        assert before[1].json() == {"status": "not ready", "reason": "Degraded"}
        assert [response.status_code for response in after] == [200, 200]
        assert [response.json() for response in after] == [{"status": "ok"}] * 2
        assert metric(metrics_before, "usersync_degraded") == 1
        assert metric(metrics_before, "usersync_last_reconciled_timestamp_seconds") == 0
        assert metric(metrics_after, "usersync_degraded") == 0
        assert ended.source_at is not None
        assert metric(metrics_after, "usersync_last_reconciled_timestamp_seconds") == (
            pytest.approx(ended.source_at.timestamp(), abs=0.001)
        )

    async def test_metrics_count_the_unrepaired_users_of_each_kind(
        self, pair: Pair, blog: httpx.AsyncClient
    ) -> None:
        assert await _differing(blog) == dict.fromkeys(Kind, 0)
        await pair.damage(
            "DELETE FROM users WHERE email IN ('user1@example.org', 'user2@example.org')",
            "UPDATE users SET version = version + 1 WHERE email LIKE 'user4_@example.org'",
            "UPDATE users SET email = 'x' WHERE email = 'user3@example.org'",
        )
        await pair.reconcile()
        found = await _differing(blog)

        await pair.reconcile(repair=True)
        left = await _differing(blog)
        at = metric((await blog.get("/metrics")).text, "usersync_last_reconciled_timestamp_seconds")
        away = pair.settings.model_copy(update={"auth_url": "http://127.0.0.1:1"})
        failed = await pair.reconcile(settings=away)

        nothing = dict.fromkeys(Kind, 0)
        assert found == {**nothing, Kind.MISSING: 2, Kind.AHEAD: 9, Kind.CORRUPT: 1}
        assert left == {**nothing, Kind.AHEAD: 9}
        assert failed.verdict == "could_not_compare"
        assert await _differing(blog) == left
        assert (
            metric((await blog.get("/metrics")).text, "usersync_last_reconciled_timestamp_seconds")
            == at
        )


async def _differing(blog: httpx.AsyncClient) -> dict[Kind, float]:
    text = (await blog.get("/metrics")).text
    name = "usersync_reconcile_differing_users"
    return {kind: metric(text, f'{name}{{kind="{kind}"}}') for kind in Kind}


async def _finished(
    blog: httpx.AsyncClient, run_id: str, headers: dict[str, str]
) -> dict[str, Any]:
    run: dict[str, Any] = (await blog.get(f"{RECONCILE}/{run_id}", headers=headers)).json()
    return run if run["finished_at"] else {}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


class TestProofs:
    """``GET /v1/sync/proofs``."""

    async def test_certificates_are_listed_newest_first(
        self, blog: httpx.AsyncClient, blog_engine: AsyncEngine, operator: dict[str, str]
    ) -> None:
        chain = Issuer().chain(3)
        async with blog_engine.begin() as connection:
            for each in chain:
                await append(connection, each, before=None)
        await execute(blog_engine, "UPDATE proofs SET certificate = 'x' WHERE number = 1")

        first = (await blog.get(PROOFS, params={"limit": 2}, headers=operator)).json()
        more = {"cursor": first["next_cursor"]}
        last = (await blog.get(PROOFS, params=more, headers=operator)).json()

        items = [*first["items"], *last["items"]]
        assert [item["hash"] for item in items] == [each.hash for each in reversed(chain)]
        assert [item["certificate"] for item in first["items"]] == [chain[2].text, chain[1].text]
        assert first["items"][0]["says"] == chain[2].certificate.payload()
        assert (items[-1]["says"], last["next_cursor"]) == (None, None)
