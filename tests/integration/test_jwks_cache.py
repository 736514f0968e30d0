"""The cache of a remote key set, with a source that is up, slow, down or hostile."""

import asyncio
import functools
import gzip
import json
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.utils import base64url_encode
from prometheus_client import REGISTRY

from contracts.tokens import InvalidKeySet, InvalidToken, KeysUnavailable
from contracts.tokens.jwks_cache import (
    AHEAD,
    FRESH_SECONDS_MAX,
    FRESH_SECONDS_MIN,
    RESPONSE_BYTES_MAX,
    RETRY_SECONDS,
    STALE_SECONDS_MAX,
    UNKNOWN_KEY_PAUSE_SECONDS,
    UNKNOWN_KID_SECONDS,
    JwksCache,
)
from contracts.tokens.keys import jwk, jwks
from tests.support.blog_api import a_token
from tests.support.builders import SOURCE
from tests.support.eventually import eventually
from tests.support.in_turn import in_turn
from tests.support.key_source import KeySource, key_source

T = TypeVar("T")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@functools.cache
def key(number: int) -> rsa.RSAPrivateKey:  # noqa: ARG001 - each number has a key of its own
    """Return one of the keys to rotate; the source publishes the first, unless told otherwise."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
async def source() -> AsyncIterator[KeySource]:
    async with key_source() as source:
        source.publish(key(0))
        yield source


@pytest.fixture
def clock() -> Clock:
    return Clock()


def cache_of(source: KeySource, clock: Clock, **limits: Any) -> JwksCache:
    return JwksCache(source.url, issuer=SOURCE, audience="blog", clock=clock, **limits)


@pytest.fixture
async def cache(source: KeySource, clock: Clock) -> AsyncIterator[JwksCache]:
    async with cache_of(source, clock) as cache:
        yield cache


def token_by(number: int, **header: Any) -> str:
    """Return a valid token signed by that key, with extra header fields."""
    claims = jwt.decode(a_token(key(number), uuid4()), options={"verify_signature": False})
    kid = jwk(key(number).public_key())["kid"]
    return jwt.encode(claims, key(number), "RS256", headers={"typ": "at+jwt", "kid": kid, **header})


def at_once(awaitable: Awaitable[T]) -> T:
    """Return the result of ``awaitable``; fail if it would have to wait."""
    steps = awaitable.__await__()
    with pytest.raises(StopIteration) as ended:
        next(steps)
    result: T = ended.value.value
    return result


async def accepts(cache: JwksCache, token: str) -> bool:
    try:
        await cache.verify(token)
    except InvalidToken:
        return False
    return True


class TestFreshKeys:
    """The cached key set is still fresh."""

    async def test_verifying_fetches_nothing_and_never_waits(
        self, cache: JwksCache, source: KeySource, clock: Clock
    ) -> None:
        """Only the first request fetches; later ones finish without yielding to the event loop."""
        token = token_by(0)
        await cache.verify(token)
        clock.now += AHEAD * 300 - 1
        read = [at_once(cache.verify(token)) for _ in range(50)]
        assert {each.key_id for each in read} == {jwk(key(0).public_key())["kid"]}
        assert source.fetches == 1

    async def test_a_hundred_first_requests_share_one_fetch(
        self, cache: JwksCache, source: KeySource
    ) -> None:
        """They all wait for the same response."""
        tokens = [token_by(0) for _ in range(100)]
        assert all(await asyncio.gather(*(accepts(cache, token) for token in tokens)))
        assert source.fetches == 1

    async def test_a_cancelled_request_does_not_cancel_the_shared_fetch(
        self, cache: JwksCache, source: KeySource
    ) -> None:
        """A client that disconnects does not fail the others."""
        source.hold()
        first, second = (asyncio.create_task(cache.verify(token_by(0))) for _ in range(2))
        await eventually(lambda: source.fetches == 1)

        first.cancel()
        await asyncio.wait([first])
        source.hold(False)

        assert await second
        assert source.fetches == 1

    async def test_the_key_set_is_refreshed_in_advance(
        self, cache: JwksCache, source: KeySource, clock: Clock
    ) -> None:
        """A request starts the fetch before the set expires, and uses the cached keys itself."""
        token = token_by(0)
        await cache.verify(token)
        source.hold()

        clock.now += AHEAD * 300
        for _ in range(20):
            at_once(cache.verify(token))
        await eventually(lambda: source.fetches == 2)
        source.hold(False)
        await cache.refresh()

        clock.now += AHEAD * 300 - 1
        at_once(cache.verify(token))
        assert source.fetches == 2

    @in_turn(
        ("cache_control", "seconds"),
        [
            ("max-age=60", 60),
            ("public, MAX-AGE=60", 60),
            ('max-age="60"', 60),
            ("max-age=86400", FRESH_SECONDS_MAX),
            ("s-maxage=60", FRESH_SECONDS_MAX),
            ("max-age=soon", FRESH_SECONDS_MAX),
            ("", FRESH_SECONDS_MAX),
            ("max-age=0", FRESH_SECONDS_MIN),
            ("no-store, max-age=60", FRESH_SECONDS_MIN),
            ("no-cache", FRESH_SECONDS_MIN),
        ],
    )
    async def test_a_key_set_is_fresh_for_its_max_age(
        self, source: KeySource, clock: Clock, cache_control: str, seconds: float
    ) -> None:
        """Within ten seconds and five minutes; after that time a removed key is refused."""
        source.publish(key(0))
        source.headers["Cache-Control"] = cache_control
        async with cache_of(source, clock) as cache:
            token = token_by(0)
            await cache.verify(token)
            source.publish(key(1))
            fetches = source.fetches

            clock.now += AHEAD * seconds - 0.1
            at_once(cache.verify(token))
            assert source.fetches == fetches
            clock.now += seconds - AHEAD * seconds + 0.2
            assert not await accepts(cache, token)

    async def test_an_unchanged_key_set_is_confirmed_by_a_304(
        self, cache: JwksCache, source: KeySource, clock: Clock
    ) -> None:
        """A 304 makes the cached set fresh again."""
        source.publish(key(0), etag=True)
        token = token_by(0)
        await cache.verify(token)

        clock.now += 301
        await cache.verify(token)
        clock.now += AHEAD * 300 - 1
        at_once(cache.verify(token))

        assert [request.get("if-none-match") for request in source.requests] == [
            None,
            source.headers["ETag"],
        ]
        assert _sample("usersync_jwks_age_seconds") == AHEAD * 300 - 1

    async def test_an_invalid_etag_is_dropped(self, cache: JwksCache, source: KeySource) -> None:
        """A response never breaks the next request."""
        for etag in ("abc", '"' + "x" * 300 + '"', '"é"'):
            source.headers["ETag"] = etag
            await cache.refresh()
        assert await cache.refresh()
        assert not any("if-none-match" in request for request in source.requests)

    async def test_a_304_without_a_conditional_request_is_a_failure(
        self, source: KeySource, clock: Clock
    ) -> None:
        """There is no cached response that could be unchanged."""
        source.status, source.body = "304 Not Modified", b""
        async with cache_of(source, clock, start=jwks(key(0).public_key())) as cache:
            assert not await cache.refresh()


class TestKeyRotation:
    """Keys are added and removed."""

    async def test_a_rotation_refuses_no_token(
        self, cache: JwksCache, source: KeySource, clock: Clock
    ) -> None:
        """Even if the new key signs at once; a removed key is refused after the next fetch.

        Another new key is asked for again, as when a revoked key has a successor.
        """
        old, new, newest = token_by(0), token_by(1), token_by(2)
        assert await accepts(cache, old)

        source.publish(key(0), key(1))

        assert all(await asyncio.gather(*(accepts(cache, t) for t in [new, old] * 50)))
        assert source.fetches == 2
        clock.now += 301
        assert [await accepts(cache, token) for token in (old, new)] == [True, True]
        source.publish(key(1))
        await cache.refresh()
        assert [await accepts(cache, token) for token in (old, new)] == [False, True]
        source.publish(key(2))
        clock.now += UNKNOWN_KEY_PAUSE_SECONDS  # the removed key has just been asked for
        assert [await accepts(cache, token) for token in (newest, new)] == [True, False]

    async def test_a_fetch_that_started_before_the_key_was_published_is_repeated(
        self, cache: JwksCache, source: KeySource
    ) -> None:
        """A response without the new key may already be on its way."""
        await cache.refresh()
        source.hold()
        early = asyncio.create_task(cache.refresh())
        await eventually(lambda: source.fetches == 2)

        source.publish(key(0), key(1))
        late = asyncio.create_task(accepts(cache, token_by(1)))
        await asyncio.sleep(0)
        source.hold(False)

        assert await early
        assert await late
        assert source.fetches == 3

    async def test_the_initial_key_set_serves_until_the_first_fetch_succeeds(
        self, source: KeySource, clock: Clock
    ) -> None:
        """From then on only the published set counts; without it, the initial one for a day."""
        source.is_down = True
        async with cache_of(source, clock, start=jwks(key(2).public_key())) as cache:
            before = await accepts(cache, token_by(2))
            clock.now += STALE_SECONDS_MAX
            with pytest.raises(KeysUnavailable):
                await cache.verify(token_by(2))
            source.is_down = False
            clock.now += RETRY_SECONDS
            await cache.refresh()

            assert before
            assert not await accepts(cache, token_by(2))
            assert await accepts(cache, token_by(0))


class TestUnavailableSource:
    """The source fails or does not respond in time."""

    async def test_cached_keys_serve_without_waiting(
        self, cache: JwksCache, source: KeySource, clock: Clock
    ) -> None:
        """The cache retries in the background, once in ten seconds."""
        token = token_by(0)
        await cache.verify(token)
        source.is_down = True
        clock.now += 301
        await cache.verify(token)
        assert source.fetches == 2

        for tries in range(3, 6):
            clock.now += RETRY_SECONDS - 1
            at_once(cache.verify(token))
            assert source.fetches == tries - 1
            clock.now += 1
            for _ in range(20):
                at_once(cache.verify(token))
            await cache.refresh()
            assert source.fetches == tries

    async def test_cached_keys_expire_after_a_day(
        self, cache: JwksCache, source: KeySource, clock: Clock
    ) -> None:
        """By then some may have been revoked; a successful fetch makes them valid again."""
        token = token_by(0)
        await cache.verify(token)
        confirmed = clock.now
        source.is_down = True

        clock.now = confirmed + STALE_SECONDS_MAX - 1
        assert await accepts(cache, token)
        await cache.refresh()
        clock.now = confirmed + STALE_SECONDS_MAX
        with pytest.raises(KeysUnavailable):
            await cache.verify(token)
        with pytest.raises(KeysUnavailable):
            await cache.ready()

        source.is_down = False
        clock.now += RETRY_SECONDS
        await cache.ready()
        assert await accepts(cache, token)

    async def test_without_keys_every_token_is_unavailable(
        self, cache: JwksCache, source: KeySource, clock: Clock
    ) -> None:
        """Such a token is neither valid nor invalid; retries stay as rare as usual."""
        source.is_down = True
        for _ in range(50):
            with pytest.raises(KeysUnavailable):
                await cache.verify(token_by(0))
        with pytest.raises(KeysUnavailable):
            await cache.ready()
        fetches = source.fetches

        source.is_down = False
        clock.now += RETRY_SECONDS
        await cache.ready()

        assert fetches == 1
        assert source.fetches == 2

    async def test_the_age_of_the_keys_is_a_metric(self, cache: JwksCache, clock: Clock) -> None:
        """It is infinite without keys, and otherwise the seconds since the last confirmation."""
        before = _sample("usersync_jwks_age_seconds")
        await cache.refresh()
        clock.now += 42
        assert before == float("inf")
        assert _sample("usersync_jwks_age_seconds") == 42

    @pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])
    async def test_a_slow_response_is_abandoned(
        self, source: KeySource, clock: Clock, drips: bool
    ) -> None:
        """The limit applies to the whole response, not to the pause between two bytes."""
        source.drips = drips
        source.hold(not drips)
        async with cache_of(source, clock, fetch_seconds_max=0.2) as cache:
            began = time.monotonic()
            assert not await cache.refresh()
            assert 0.15 < time.monotonic() - began < 2

    async def test_closing_cancels_a_running_fetch(self, source: KeySource, clock: Clock) -> None:
        """A shutdown does not wait for the source."""
        source.hold()
        cache = cache_of(source, clock)
        waiting = asyncio.create_task(cache.refresh())
        await eventually(lambda: source.fetches == 1)

        async with asyncio.timeout(1):
            await cache.close()
            await asyncio.wait([waiting])

        assert waiting.cancelled()

    async def test_a_refused_connection_is_a_failure(self, clock: Clock, unused_port: int) -> None:
        url = f"http://127.0.0.1:{unused_port}/"
        async with JwksCache(url, issuer=SOURCE, audience="blog", clock=clock) as cache:
            assert not await cache.refresh()


class TestHostileResponses:
    """The cached keys survive everything that the source may send."""

    async def test_a_body_that_is_not_a_key_set_is_ignored(
        self, cache: JwksCache, source: KeySource
    ) -> None:
        """A set that breaks a rule, or in which two parsers could see two sets, changes nothing."""
        await cache.refresh()
        other = json.dumps(jwks(key(1).public_key())["keys"]).encode()
        twice = source.body[:-1] + b', "keys": ' + other + b"}"
        symmetric = b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "o"}]}'
        wrong = (b"", b"<html>", b"null", b"[]", b"{}", b'{"keys": []}', symmetric, twice)
        utf_16 = json.dumps({"keys": []}).encode("utf-16")
        for body in (*wrong, b"[" * 60_000, b"\xff\xfe", utf_16):
            source.body = body
            assert not await cache.refresh()
            assert await accepts(cache, token_by(0))
        assert not await accepts(cache, token_by(1))

    @pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
    async def test_a_body_above_the_limit_is_ignored(
        self, cache: JwksCache, source: KeySource, announced: bool
    ) -> None:
        """With or without Content-Length; a body of exactly the limit is accepted."""
        document = json.loads(source.body)
        room = RESPONSE_BYTES_MAX - len(json.dumps(document | {"x": ""}))
        responses = []
        for length in (room, room + 1):
            source.publish_json(document | {"x": "x" * length})
            if not announced:
                source.headers["Transfer-Encoding"] = "chunked"
                source.body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(source.body), source.body)
            responses.append(await cache.refresh())

        assert responses == [True, False]

    async def test_a_compressed_body_is_not_decompressed(
        self, cache: JwksCache, source: KeySource
    ) -> None:
        """A few bytes could expand to gigabytes."""
        source.headers["Content-Encoding"] = "gzip"
        source.body = gzip.compress(source.body)
        assert not await cache.refresh()
        assert source.requests[0]["accept-encoding"] == "identity"

    async def test_another_status_brings_no_keys(self, cache: JwksCache, source: KeySource) -> None:
        """Keys come only from the configured URL: no redirect is followed."""
        async with key_source() as elsewhere:
            source.headers["Location"] = elsewhere.url
            for status in (
                *("301 Moved", "302 Found", "307 Temporary", "308 Moved"),
                *("201 Created", "404 Not Found", "500 Error", "503 Busy"),
            ):
                source.status = status
                assert not await cache.refresh(), status
            assert elsewhere.fetches == 0

    async def test_proxy_settings_of_the_environment_are_ignored(
        self, source: KeySource, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The cache always connects directly."""
        async with key_source() as proxy:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            async with cache_of(source, clock) as cache:
                assert await cache.refresh()
            assert proxy.fetches == 0


class TestHostileTokens:
    """The contents of a token cost the source almost nothing."""

    @pytest.mark.parametrize("state", ["up", "down", "slow"])
    async def test_many_unknown_key_ids_cause_one_fetch_in_thirty_seconds(
        self, source: KeySource, clock: Clock, state: str
    ) -> None:
        """Failed fetches count; valid tokens are served meanwhile."""
        async with cache_of(
            source, clock, fresh_seconds_max=10_000, retry_seconds=10_000, fetch_seconds_max=0.2
        ) as cache:
            source.publish(key(0), max_age=10_000)
            await cache.refresh()
            source.is_down = state == "down"
            source.hold(state == "slow")
            good, rest = token_by(0), token_by(1).partition(".")[2]

            def unknown() -> str:
                header = {"alg": "RS256", "typ": "at+jwt", "kid": str(uuid4())}
                return f"{base64url_encode(json.dumps(header).encode()).decode()}.{rest}"

            for fetches in (2, 3, 4):
                for _ in range(3):
                    flood = (unknown() for _ in range(50))
                    accepted = await asyncio.gather(*(accepts(cache, token) for token in flood))
                    assert not any(accepted)
                    at_once(cache.verify(good))
                    clock.now += UNKNOWN_KEY_PAUSE_SECONDS / 3 - 0.1
                assert source.fetches == fetches
                clock.now += 0.4

    async def test_an_unknown_key_id_is_remembered(self, source: KeySource, clock: Clock) -> None:
        """Repeating it does not use up the fetch that a new key may need."""
        source.publish(key(0), max_age=10_000)
        async with cache_of(source, clock, fresh_seconds_max=10_000) as cache:
            await cache.refresh()
            assert not await accepts(cache, token_by(1))
            clock.now += UNKNOWN_KEY_PAUSE_SECONDS

            assert not await accepts(cache, token_by(1))
            fetches_for_the_same = source.fetches
            source.publish(key(0), key(2), max_age=10_000)
            assert await accepts(cache, token_by(2))
            clock.now += UNKNOWN_KID_SECONDS
            assert not await accepts(cache, token_by(1))

            assert fetches_for_the_same == 2
            assert source.fetches == 4

    async def test_a_remembered_key_id_is_accepted_once_published(
        self, source: KeySource, clock: Clock
    ) -> None:
        """The memory only saves fetches; and a failed fetch is not remembered."""
        async with cache_of(source, clock, start=jwks(key(0).public_key())) as cache:
            source.is_down = True
            assert not await accepts(cache, token_by(1))
            source.is_down = False
            source.publish(key(1))
            clock.now += UNKNOWN_KEY_PAUSE_SECONDS
            assert await accepts(cache, token_by(1))

            assert not await accepts(cache, token_by(2))
            source.publish(key(2))
            await cache.refresh()
            assert await accepts(cache, token_by(2))

    async def test_the_memory_of_unknown_key_ids_is_bounded(
        self, source: KeySource, clock: Clock
    ) -> None:
        """The oldest ids are dropped first."""
        async with cache_of(
            source, clock, unknown_kids_max=2, unknown_key_pause_seconds=0
        ) as cache:
            await cache.refresh()
            for kid in ("a", "b", "c", "c", "b"):
                assert not await accepts(cache, token_by(1, kid=kid))
            fetches = source.fetches
            assert not await accepts(cache, token_by(1, kid="a"))

            assert fetches == 4
            assert source.fetches == 5

    @pytest.mark.parametrize("kid", ["../../x", "' OR 1=1 --", "k" * 129, "é", ""])
    async def test_an_invalid_key_id_causes_no_fetch(
        self, cache: JwksCache, source: KeySource, kid: str
    ) -> None:
        """The text ``../../x`` is a valid id, but never becomes part of a URL."""
        await cache.refresh()
        assert not await accepts(cache, token_by(1, kid=kid))
        assert source.fetches == (2 if kid == "../../x" else 1)
        assert len({request["host"] for request in source.requests}) == 1

    async def test_a_key_url_in_the_header_is_not_requested(
        self, cache: JwksCache, source: KeySource
    ) -> None:
        """The attacker's server, which has the matching key, gets no request (CVE-2018-0114)."""
        await cache.refresh()
        async with key_source() as attackers:
            attackers.publish(key(1))
            for name in ("jku", "x5u"):
                for number in (0, 1):
                    assert not await accepts(cache, token_by(number, **{name: attackers.url}))
            assert attackers.fetches == 0
        assert source.fetches == 1


def test_an_invalid_initial_key_set_stops_the_start() -> None:
    """The rules are those for fetched sets."""
    with pytest.raises(InvalidKeySet):
        JwksCache("http://a.example/", issuer=SOURCE, audience="blog", start={"keys": []})


def _sample(name: str) -> float | None:
    return REGISTRY.get_sample_value(name)
