"""Sign-in under attack: what guessers learn, how fast they may guess, and what harm they can do."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import structlog
from argon2 import PasswordHasher
from fastapi import FastAPI

from auth_service.app import create_app
from auth_service.settings import ApiSettings
from service_kit.process.rates import Rate
from tests.support.auth_api import ADA, PASSWORD, AuthApi, assert_problem
from tests.support.guesses import guesses_allowed
from tests.support.log_ids import assert_has_ids
from tests.support.processes import Process, running
from tests.support.statements import statements


@pytest.fixture(autouse=True)
def hashing() -> None:
    """Keep the parameters of production: these tests check them."""


@pytest.fixture
async def app(api_settings: ApiSettings) -> AsyncIterator[FastAPI]:
    settings = api_settings.model_copy(update={"limit_account_failures": Rate(12, 3600)})
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@contextmanager
def work() -> Iterator[list[str]]:
    """Record the statements executed and hashes computed inside the block."""
    verify = PasswordHasher.verify

    def note_hash(self: PasswordHasher, password_hash: str, password: str) -> bool:
        done.append(password_hash.rsplit("$", 2)[0])
        return verify(self, password_hash, password)

    with statements() as done, pytest.MonkeyPatch.context() as patch:
        patch.setattr(PasswordHasher, "verify", note_hash)
        yield done


async def test_a_sign_up_is_three_statements_and_a_sign_in_four(app: FastAPI) -> None:
    """Beside argon2, which empties the caches, each one costs several times what it costs alone."""
    async with AuthApi(app) as api:
        await api.sign_up()
        await api.sign_in()
        with statements() as of_sign_up:
            await api.sign_up("bob@example.org")
        with statements() as of_sign_in:
            assert (await api.sign_in()).status_code == 200
    keys = "signing_keys"  # read once a second, for all requests
    assert len([each for each in of_sign_up if keys not in each]) == 3
    assert len([each for each in of_sign_in if keys not in each]) == 4


class TestWhatIsTold:
    """Nothing about who has an account."""

    async def test_an_unknown_address_causes_the_same_work(self, app: FastAPI) -> None:
        """The same statements in the same order, one hash with the same parameters, one answer."""
        api = AuthApi(app)
        await api.sign_up()
        done, answers = [], set()
        for email in (ADA, "nobody@example.org", "no address"):
            with work() as statements_and_hashes:
                answer = await api.sign_in(email, "heron lantern gravel")
            problem = assert_problem(answer, 401, "invalid_credentials")
            del problem["instance"], answer.headers["X-Request-ID"]
            answers.add((repr(problem), repr(answer.headers)))
            done.append(statements_and_hashes)

        assert done[0].count("$argon2id$v=19$m=19456,t=2,p=1") == 1
        assert len(done[0]) == 2
        assert done[1:] == [done[0]] * 2
        assert len(answers) == 1

    async def test_an_unknown_address_is_delayed_like_a_known_one(self, app: FastAPI) -> None:
        """429 after the same number of attempts, with the same text, in any spelling."""
        answers: list[list[tuple[int, str | None]]] = []
        await AuthApi(app).sign_up()
        for email, address in ((ADA, "192.0.2.8"), ("nobody@example.org", "192.0.2.9")):
            spellings = [email, email.upper(), email.title(), email.swapcase()] * 2
            api = AuthApi(app, address)
            tries = [await api.sign_in(spelling, "wrong") for spelling in spellings]
            answers.append([(each.status_code, each.headers.get("RateLimit")) for each in tries])

        assert answers[0] == answers[1]
        assert [status for status, _ in answers[0]] == [401] * 5 + [429] * 3

    async def test_the_log_names_neither_address_nor_network(
        self, app: FastAPI, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Known users by id; networks by a keyed hash, the same for one network."""
        with structlog.testing.capture_logs() as lines:
            api = AuthApi(app)
            ada = await api.sign_up()
            await api.sign_in()
            await api.sign_in(password="wrong")
            await api.sign_in("nobody@example.org", "wrong")
            await AuthApi(app, "198.51.100.7").sign_in()

        tries = [line for line in lines if line["event"].startswith("authn_login")]
        assert [(line["event"], line["user_id"]) for line in tries] == [
            ("authn_login_success", ada["user"]["id"]),
            ("authn_login_fail", ada["user"]["id"]),
            ("authn_login_fail", None),
            ("authn_login_success", ada["user"]["id"]),
        ]
        assert_has_ids(lines, "authn_login_success", user_id=ada["user"]["id"])
        networks = [line["network"] for line in tries]
        assert len(set(networks[:3])) == 1
        assert networks[3] != networks[0]
        written = json.dumps(lines, default=str) + capsys.readouterr().out
        for told in ("example.org", "127.0.0.1", "198.51.100.7", "heron", "argon2"):
            assert told not in written


class TestGuessing:
    """Delays and limits."""

    async def test_a_hundred_parallel_guesses_are_five(self, app: FastAPI) -> None:
        """The passwords of the others are not checked: 429, and when to retry."""
        api = AuthApi(app, "203.0.113.1")
        began = time.monotonic()
        with work() as done:
            guesses = (api.sign_in(password=f"guess number {n}") for n in range(25))
            answers = await asyncio.gather(*guesses)

        refused = [answer for answer in answers if answer.status_code == 429]
        checked = len(answers) - len(refused)
        assert 5 <= checked <= guesses_allowed(5, time.monotonic() - began)
        assert sum(line.startswith("$argon2id$") for line in done) == checked
        for answer in refused:
            document = assert_problem(answer, 429, "too_many_requests")
            assert document["violated-policies"] == ["signin_delay"]
            seconds = answer.headers["Retry-After"]
            assert seconds in ("1", "2")[: checked - 4]
            assert answer.headers["RateLimit"] == f'"signin_delay";r=0;t={seconds}'

    async def test_who_waits_may_try_again(self, app: FastAPI) -> None:
        """A delay is not a lock: the right password signs in and resets the failures."""
        api = AuthApi(app)
        await api.sign_up()
        for _ in range(5):
            await api.sign_in(password="wrong")
        assert_problem(await api.sign_in(), 429, "too_many_requests")
        await api.execute("UPDATE throttle_failures SET blocked_until = now() - interval '1 s'")
        assert (await api.sign_in()).status_code == 200
        assert await api.fetch("SELECT 1 FROM throttle_failures") == []

    async def test_a_network_has_a_limit_for_all_accounts_together(self, app: FastAPI) -> None:
        """One password tried on many accounts: ten wrong ones a minute in total."""
        api = AuthApi(app, "203.0.113.1")
        answers = [await api.sign_in(f"u{n}@example.org", "wrong") for n in range(12)]
        elsewhere = await AuthApi(app).sign_in("u1@example.org", "wrong")
        assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
        assert answers[-1].json()["violated-policies"] == ["signin_failures"]
        assert elsewhere.status_code == 401

    async def test_an_ipv6_customer_is_one_network(self, api_settings: ApiSettings) -> None:
        """Of 2^64 addresses, with one limit; with a /48, four times that for all its networks."""
        settings = api_settings.model_copy(update={"limit_signin_failures": Rate(2, 3600)})
        app = create_app(settings)

        async def tried(address: str, n: int) -> httpx.Response:
            return await AuthApi(app, address).sign_in(f"{n}@example.org", "wrong")

        async with app.router.lifespan_context(app):
            customer = [await tried(f"2001:db8:0:1::{n:x}", n) for n in range(3)]
            neighbour = await tried("2001:db8:0:2::1", 9)
            site = [await tried(f"2001:db8:7:{n:x}::1", n) for n in range(9)]
            other_site = await tried("2001:db8:8::1", 9)

        assert [answer.status_code for answer in customer] == [401, 401, 429]
        assert [answer.status_code for answer in site] == [401] * 8 + [429]
        assert site[-1].json()["violated-policies"] == ["signin_failures_site"]
        assert (neighbour.status_code, other_site.status_code) == (401, 401)

    async def test_a_known_owner_is_never_locked_out_by_others(self, app: FastAPI) -> None:
        """The account's limit is spent from everywhere; on their own network they still sign in."""
        home = AuthApi(app)
        await home.sign_up()
        attackers = [AuthApi(app, f"203.0.113.{n}") for n in range(20)]
        guesses = [await attacker.sign_in(password="wrong") for attacker in attackers]
        at_a_new_place = await AuthApi(app, "203.0.113.20").sign_in()

        assert (await home.sign_in()).status_code == 200
        assert [guess.status_code for guess in guesses] == [401] * 12 + [429] * 8
        assert guesses[-1].json()["violated-policies"] == ["account_failures"]
        assert_problem(at_a_new_place, 429, "too_many_requests")

    async def test_a_full_hashing_pool_blocks_nobody(self, app: FastAPI) -> None:
        """A 503, even for an unknown address, is not a failure: no attempt is used up."""
        places, taken = app.state.context.passwords._places, 0
        while places.acquire(blocking=False):
            taken += 1
        api = AuthApi(app)
        busy = [await api.sign_in(password="wrong") for _ in range(12)]
        places.release(taken)
        after = [await api.sign_in(password="wrong") for _ in range(6)]

        for answer in busy:
            assert_problem(answer, 503, "busy")
            assert int(answer.headers["Retry-After"]) > 0
        assert [answer.status_code for answer in after] == [401] * 5 + [429]


class TestStoredHash:
    """A hash with outdated parameters."""

    async def test_a_sign_in_renews_an_outdated_hash(self, app: FastAPI) -> None:
        """With today's parameters, nothing else; nobody is refused as another one was faster."""
        weaker = PasswordHasher(1, 8, 1).hash(PASSWORD)
        api = AuthApi(app)
        ada = await api.sign_up()
        await api.execute(f"UPDATE users SET password_hash = '{weaker}'")
        events = await api.fetch("SELECT event_id FROM outbox_events")

        wrong = await api.sign_in(password="wrong")
        (after_wrong,) = await api.fetch("SELECT password_hash FROM users")
        right = await asyncio.gather(*(api.sign_in() for _ in range(4)))
        right.append(await api.sign_in())
        (after,) = await api.fetch("SELECT password_hash, version FROM users")

        assert wrong.status_code == 401
        assert after_wrong.password_hash == weaker
        assert [answer.status_code for answer in right] == [200] * 5
        assert after.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert after.version == ada["user"]["version"]
        assert await api.fetch("SELECT event_id FROM outbox_events") == events


async def test_from_a_trusted_proxy_the_last_forwarded_address_counts(
    api_environment: dict[str, str], tmp_path: Path
) -> None:
    """The one that the proxy saw and appended, not those before it; in the process itself."""
    proxied = {"AUTH_LIMIT_SIGNIN_FAILURES": "2/3600", "AUTH_TRUSTED_PROXIES": "127.0.0.1"}
    process = Process("auth-service api", api_environment | proxied, tmp_path / "api.log")
    base = f"http://127.0.0.1:{api_environment['AUTH_PORT']}"
    forwarded = [f"198.51.100.{n}, 203.0.113.1" for n in range(3)] + ["203.0.113.2"]
    async with (
        running(process, f"{base}/readyz"),
        httpx.AsyncClient(base_url=base, trust_env=False, verify=False) as client,
    ):
        for n, (addresses, status) in enumerate(zip(forwarded, (401, 401, 429, 401), strict=True)):
            body = {"email": f"u{n}@example.org", "password": "wrong"}
            headers = {"X-Forwarded-For": addresses}
            answer = await client.post("/v1/signin", json=body, headers=headers)
            assert answer.status_code == status, addresses
