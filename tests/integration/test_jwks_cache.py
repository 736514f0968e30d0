"""The cache of a remote key set, with a source that is up, slow, down or hostile."""

import asyncio
import functools
import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.utils import base64url_encode
from prometheus_client import REGISTRY

from contracts.tokens import AccessToken, InvalidKeySet, InvalidToken, KeysUnavailable, jwks_cache
from contracts.tokens.jwks_cache import JwksCache
from contracts.tokens.keys import jwk, jwks
from tests.support.blog_api import a_token
from tests.support.builders import SOURCE
from tests.support.eventually import eventually
from tests.support.in_turn import in_turn
from tests.support.key_source import KeySource, key_source

SHORTEST, LONGEST = jwks_cache.FRESH_SECONDS_MIN, jwks_cache.FRESH_SECONDS_MAX


@functools.cache
def key(number: int) -> rsa.RSAPrivateKey:  # noqa: ARG001 - each number has a key of its own
    """Return one of the keys to rotate; the source publishes the first, unless told otherwise."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def token_by(number: int, **header: Any) -> str:
    """Return a valid token signed by that key, with extra header fields."""
    claims = jwt.decode(a_token(key(number), uuid4()), options={"verify_signature": False})
    kid = jwk(key(number).public_key())["kid"]
    return jwt.encode(claims, key(number), "RS256", headers={"typ": "at+jwt", "kid": kid, **header})


class Cache(JwksCache):
    """A cache whose clock stands at ``now``, of a source that the test controls.

    A token is given by the number of its key.
    """

    def __init__(self, source: KeySource, **limits: Any) -> None:
        self.now = 1_000.0
        self.source = source
        given: dict[str, Any] = {"url": source.url, "issuer": SOURCE, "audience": "blog", **limits}
        super().__init__(clock=lambda: self.now, **given)

    async def accepts(self, token: int | str) -> bool:
        try:
            await self.verify(token_by(token) if isinstance(token, int) else token)
        except InvalidToken:
            return False
        return True

    def at_once(self, number: int = 0) -> AccessToken:
        """Verify a token; fail if that would have to wait."""
        steps = self.verify(token_by(number)).__await__()
        with pytest.raises(StopIteration) as ended:
            next(steps)
        found: AccessToken = ended.value.value
        return found

    async def assert_unavailable(self, number: int = 0) -> None:
        for attempt in (self.verify(token_by(number)), self.ready()):
            with pytest.raises(KeysUnavailable):
                await attempt


@pytest.fixture
async def source() -> AsyncIterator[KeySource]:
    async with key_source() as source:
        source.publish(key(0))
        yield source


@pytest.fixture
async def cache(source: KeySource) -> AsyncIterator[Cache]:
    async with Cache(source) as cache:
        yield cache


class TestFreshKeys:
    """The cached key set is still fresh."""

    async def test_verifying_fetches_nothing_and_never_waits(self, cache: Cache) -> None:
        """Only the first request fetches; later ones finish without yielding to the event loop."""
        assert await cache.accepts(0)
        cache.now += jwks_cache.AHEAD * 300 - 1
        read = [cache.at_once() for _ in range(50)]
        assert {each.key_id for each in read} == {jwk(key(0).public_key())["kid"]}
        assert cache.source.fetches == 1

    async def test_a_hundred_first_requests_share_one_fetch(self, cache: Cache) -> None:
        """They all wait for the same response."""
        assert all(await asyncio.gather(*(cache.accepts(0) for _ in range(100))))
        assert cache.source.fetches == 1

    async def test_a_cancelled_request_does_not_cancel_the_shared_fetch(self, cache: Cache) -> None:
        """A client that disconnects does not fail the others."""
        cache.source.hold()
        first, second = (asyncio.create_task(cache.verify(token_by(0))) for _ in range(2))
        await eventually(lambda: cache.source.fetches == 1)

        first.cancel()
        await asyncio.wait([first])
        cache.source.hold(False)

        assert await second
        assert cache.source.fetches == 1

    async def test_the_key_set_is_refreshed_in_advance(self, cache: Cache) -> None:
        """A request starts the fetch before the set expires, and uses the cached keys itself."""
        assert await cache.accepts(0)
        cache.source.hold()

        cache.now += jwks_cache.AHEAD * 300
        for _ in range(20):
            cache.at_once()
        await eventually(lambda: cache.source.fetches == 2)
        cache.source.hold(False)
        await cache.refresh()

        cache.now += jwks_cache.AHEAD * 300 - 1
        cache.at_once()
        assert cache.source.fetches == 2

    @in_turn(
        ("cache_control", "seconds"),
        [
            *((said, 60) for said in ("max-age=60", "public, MAX-AGE=60", 'max-age="60"')),
            *((said, LONGEST) for said in ("max-age=86400", "s-maxage=60", "max-age=soon", "")),
            *((said, SHORTEST) for said in ("max-age=0", "no-store, max-age=60", "no-cache")),
        ],
    )
    async def test_a_key_set_is_fresh_for_its_max_age(
        self, source: KeySource, cache_control: str, seconds: float
    ) -> None:
        """Within ten seconds and five minutes; after that time a removed key is refused."""
        source.publish(key(0))
        source.headers["Cache-Control"] = cache_control
        async with Cache(source) as cache:
            assert await cache.accepts(0)
            source.publish(key(1))
            fetches = source.fetches

            cache.now += jwks_cache.AHEAD * seconds - 0.1
            cache.at_once()
            assert source.fetches == fetches
            cache.now += seconds - jwks_cache.AHEAD * seconds + 0.2
            assert not await cache.accepts(0)

    async def test_an_unchanged_key_set_is_confirmed_by_a_304(self, cache: Cache) -> None:
        """A 304 makes the cached set fresh again."""
        cache.source.publish(key(0), etag=True)
        assert await cache.accepts(0)

        cache.now += 301
        assert await cache.accepts(0)
        cache.now += jwks_cache.AHEAD * 300 - 1
        cache.at_once()

        sent = [request.get("if-none-match") for request in cache.source.requests]
        assert sent == [None, cache.source.headers["ETag"]]
        assert _sample("usersync_jwks_age_seconds") == jwks_cache.AHEAD * 300 - 1

    async def test_an_invalid_etag_is_dropped(self, cache: Cache) -> None:
        """A response never breaks the next request."""
        for etag in ("abc", '"' + "x" * 300 + '"', '"é"'):
            cache.source.headers["ETag"] = etag
            await cache.refresh()
        assert await cache.refresh()
        assert not any("if-none-match" in request for request in cache.source.requests)


class TestKeyRotation:
    """Keys are added and removed."""

    async def test_a_rotation_refuses_no_token(self, cache: Cache) -> None:
        """Even if the new key signs at once; a removed key is refused after the next fetch.

        Another new key is asked for again, as when a revoked key has a successor.
        """
        old, new, newest = range(3)
        assert await cache.accepts(old)

        cache.source.publish(key(0), key(1))

        assert all(await asyncio.gather(*(cache.accepts(t) for t in [new, old] * 50)))
        assert cache.source.fetches == 2
        cache.now += 301
        assert [await cache.accepts(token) for token in (old, new)] == [True, True]
        cache.source.publish(key(1))
        await cache.refresh()
        assert [await cache.accepts(token) for token in (old, new)] == [False, True]
        cache.source.publish(key(2))
        cache.now += jwks_cache.UNKNOWN_KEY_PAUSE_SECONDS  # the removed key has just been asked for
        assert [await cache.accepts(token) for token in (newest, new)] == [True, False]

    async def test_a_fetch_older_than_the_new_key_is_repeated(self, cache: Cache) -> None:
        """A response without the new key may already be on its way."""
        await cache.refresh()
        cache.source.hold()
        early = asyncio.create_task(cache.refresh())
        await eventually(lambda: cache.source.fetches == 2)

        cache.source.publish(key(0), key(1))
        late = asyncio.create_task(cache.accepts(1))
        await asyncio.sleep(0)
        cache.source.hold(False)

        assert await early
        assert await late
        assert cache.source.fetches == 3

    async def test_an_initial_key_set_serves_until_the_first_fetch(self, source: KeySource) -> None:
        """From then on only the published set counts; without it, the initial one for a day."""
        source.is_down = True
        async with Cache(source, start=jwks(key(2).public_key())) as cache:
            assert await cache.accepts(2)
            cache.now += jwks_cache.STALE_SECONDS_MAX
            await cache.assert_unavailable(2)
            source.is_down = False
            cache.now += jwks_cache.RETRY_SECONDS
            await cache.refresh()
            assert not await cache.accepts(2)
            assert await cache.accepts(0)


class TestUnavailableSource:
    """The source fails or does not respond in time."""

    async def test_cached_keys_serve_without_waiting(self, cache: Cache) -> None:
        """The cache retries in the background, once in ten seconds."""
        assert await cache.accepts(0)
        cache.source.is_down = True
        cache.now += 301
        assert await cache.accepts(0)
        assert cache.source.fetches == 2

        for tries in range(3, 6):
            cache.now += jwks_cache.RETRY_SECONDS - 1
            cache.at_once()
            assert cache.source.fetches == tries - 1
            cache.now += 1
            for _ in range(20):
                cache.at_once()
            await cache.refresh()
            assert cache.source.fetches == tries

    async def test_cached_keys_expire_after_a_day(self, cache: Cache) -> None:
        """By then some may have been revoked; a successful fetch makes them valid again."""
        assert await cache.accepts(0)
        confirmed = cache.now
        cache.source.is_down = True

        cache.now = confirmed + jwks_cache.STALE_SECONDS_MAX - 1
        assert await cache.accepts(0)
        await cache.refresh()
        cache.now = confirmed + jwks_cache.STALE_SECONDS_MAX
        await cache.assert_unavailable()

        cache.source.is_down = False
        cache.now += jwks_cache.RETRY_SECONDS
        await cache.ready()
        assert await cache.accepts(0)

    async def test_without_keys_every_token_is_unavailable(self, cache: Cache) -> None:
        """Such a token is neither valid nor invalid; retries stay as rare as usual."""
        cache.source.is_down = True
        for _ in range(25):
            await cache.assert_unavailable()
        assert cache.source.fetches == 1

        cache.source.is_down = False
        cache.now += jwks_cache.RETRY_SECONDS
        await cache.ready()
        assert cache.source.fetches == 2

    async def test_the_age_of_the_keys_is_a_metric(self, cache: Cache) -> None:
        """It is infinite without keys, and otherwise the seconds since the last confirmation."""
        before = _sample("usersync_jwks_age_seconds")
        await cache.refresh()
        cache.now += 42
        assert before == float("inf")
        assert _sample("usersync_jwks_age_seconds") == 42

    @pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])
    async def test_a_slow_response_is_abandoned(self, source: KeySource, drips: bool) -> None:
        """The limit applies to the whole response, not to the pause between two bytes."""
        source.drips = drips
        source.hold(not drips)
        async with Cache(source, fetch_seconds_max=0.2) as cache:
            began = time.monotonic()
            assert not await cache.refresh()
            assert 0.15 < time.monotonic() - began < 2

    async def test_closing_cancels_a_running_fetch(self, source: KeySource) -> None:
        """A shutdown does not wait for the source."""
        source.hold()
        cache = Cache(source)
        waiting = asyncio.create_task(cache.refresh())
        await eventually(lambda: source.fetches == 1)

        async with asyncio.timeout(1):
            await cache.close()
            await asyncio.wait([waiting])

        assert waiting.cancelled()

    async def test_no_connection_is_a_failure(self, source: KeySource, unused_port: int) -> None:
        async with Cache(source, url=f"http://127.0.0.1:{unused_port}/") as cache:
            assert not await cache.refresh()


class TestHostileResponses:
    """The cached keys survive everything that the source may send."""

    async def test_a_body_that_is_not_a_key_set_is_ignored(self, cache: Cache) -> None:
        """A set that breaks a rule, or in which two parsers could see two sets, changes nothing."""
        await cache.refresh()
        other = json.dumps(jwks(key(1).public_key())["keys"]).encode()
        twice = cache.source.body[:-1] + b', "keys": ' + other + b"}"
        symmetric = b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "o"}]}'
        wrong = (b"", b"<html>", b"null", b"[]", b"{}", b'{"keys": []}', symmetric, twice)
        utf_16 = json.dumps({"keys": []}).encode("utf-16")
        for body in (*wrong, b"[" * 60_000, b"\xff\xfe", utf_16):
            cache.source.body = body
            assert not await cache.refresh()
            assert await cache.accepts(0)
        assert not await cache.accepts(1)

    @pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
    async def test_a_body_above_the_limit_is_ignored(self, cache: Cache, announced: bool) -> None:
        """With or without Content-Length; a body of exactly the limit is accepted."""
        document = json.loads(cache.source.body)
        room = jwks_cache.RESPONSE_BYTES_MAX - len(json.dumps(document | {"x": ""}))
        responses = []
        for length in (room, room + 1):
            cache.source.publish_json(document | {"x": "x" * length})
            if not announced:
                cache.source.headers["Transfer-Encoding"] = "chunked"
                body = cache.source.body
                cache.source.body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            responses.append(await cache.refresh())

        assert responses == [True, False]

    async def test_a_compressed_body_is_not_decompressed(self, cache: Cache) -> None:
        """A few bytes could expand to gigabytes."""
        cache.source.headers["Content-Encoding"] = "gzip"
        cache.source.body = gzip.compress(cache.source.body)
        assert not await cache.refresh()
        assert cache.source.requests[0]["accept-encoding"] == "identity"

    async def test_another_status_brings_no_keys(self, source: KeySource) -> None:
        """Keys come only from the configured URL: no redirect is followed.

        Nor is a 304 believed without a fetched set that could be unchanged.
        """
        start = jwks(key(0).public_key())
        async with key_source() as elsewhere, Cache(source, start=start) as cache:
            source.headers["Location"] = elsewhere.url
            for status in (
                *("301 Moved", "302 Found", "307 Temporary", "308 Moved"),
                *("201 Created", "404 Not Found", "500 Error", "503 Busy", "304 Not Modified"),
            ):
                source.status = status
                source.body = b"" if status.startswith("304") else source.body
                assert not await cache.refresh(), status
            assert elsewhere.fetches == 0

    async def test_proxy_settings_of_the_environment_are_ignored(
        self, source: KeySource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The cache always connects directly."""
        async with key_source() as proxy:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            async with Cache(source) as cache:
                assert await cache.refresh()
            assert proxy.fetches == 0


class TestHostileTokens:
    """The contents of a token cost the source almost nothing."""

    @pytest.mark.parametrize("state", ["up", "down", "slow"])
    async def test_many_unknown_key_ids_cause_one_fetch_in_thirty_seconds(
        self, source: KeySource, state: str
    ) -> None:
        """Failed fetches count; valid tokens are served meanwhile."""
        async with Cache(
            source, fresh_seconds_max=10_000, retry_seconds=10_000, fetch_seconds_max=0.2
        ) as cache:
            source.publish(key(0), max_age=10_000)
            await cache.refresh()
            source.is_down = state == "down"
            source.hold(state == "slow")
            rest = token_by(1).partition(".")[2]

            def unknown() -> str:
                header = {"alg": "RS256", "typ": "at+jwt", "kid": str(uuid4())}
                return f"{base64url_encode(json.dumps(header).encode()).decode()}.{rest}"

            for fetches in (2, 3, 4):
                for _ in range(3):
                    flood = (unknown() for _ in range(50))
                    accepted = await asyncio.gather(*(cache.accepts(token) for token in flood))
                    assert not any(accepted)
                    cache.at_once()
                    cache.now += jwks_cache.UNKNOWN_KEY_PAUSE_SECONDS / 3 - 0.1
                assert source.fetches == fetches
                cache.now += 0.4

    async def test_an_unknown_key_id_is_remembered(self, source: KeySource) -> None:
        """Repeating it does not use up the fetch that a new key may need."""
        source.publish(key(0), max_age=10_000)
        async with Cache(source, fresh_seconds_max=10_000) as cache:
            await cache.refresh()
            assert not await cache.accepts(1)
            cache.now += jwks_cache.UNKNOWN_KEY_PAUSE_SECONDS

            assert not await cache.accepts(1)
            assert source.fetches == 2
            source.publish(key(0), key(2), max_age=10_000)
            assert await cache.accepts(2)
            cache.now += jwks_cache.UNKNOWN_KID_SECONDS
            assert not await cache.accepts(1)
            assert source.fetches == 4

    async def test_a_remembered_key_id_is_accepted_once_published(self, source: KeySource) -> None:
        """The memory only saves fetches; and a failed fetch is not remembered."""
        async with Cache(source, start=jwks(key(0).public_key())) as cache:
            source.is_down = True
            assert not await cache.accepts(1)
            source.is_down = False
            source.publish(key(1))
            cache.now += jwks_cache.UNKNOWN_KEY_PAUSE_SECONDS
            assert await cache.accepts(1)

            assert not await cache.accepts(2)
            source.publish(key(2))
            await cache.refresh()
            assert await cache.accepts(2)

    async def test_the_memory_of_unknown_key_ids_is_bounded(self, source: KeySource) -> None:
        """The oldest ids are dropped first."""
        async with Cache(source, unknown_kids_max=2, unknown_key_pause_seconds=0) as cache:
            await cache.refresh()
            for kid in ("a", "b", "c", "c", "b"):
                assert not await cache.accepts(token_by(1, kid=kid))
            assert source.fetches == 4
            assert not await cache.accepts(token_by(1, kid="a"))
            assert source.fetches == 5

    @pytest.mark.parametrize("kid", ["../../x", "' OR 1=1 --", "k" * 129, "é", ""])
    async def test_an_invalid_key_id_causes_no_fetch(self, cache: Cache, kid: str) -> None:
        """The text ``../../x`` is a valid id, but never becomes part of a URL."""
        await cache.refresh()
        assert not await cache.accepts(token_by(1, kid=kid))
        assert cache.source.fetches == (2 if kid == "../../x" else 1)
        assert len({request["host"] for request in cache.source.requests}) == 1

    async def test_a_key_url_in_the_header_is_not_requested(self, cache: Cache) -> None:
        """The attacker's server, which has the matching key, gets no request (CVE-2018-0114)."""
        await cache.refresh()
        async with key_source() as attackers:
            attackers.publish(key(1))
            for name in ("jku", "x5u"):
                for number in (0, 1):
                    assert not await cache.accepts(token_by(number, **{name: attackers.url}))
            assert attackers.fetches == 0
        assert cache.source.fetches == 1


def test_an_invalid_initial_key_set_stops_the_start() -> None:
    """The rules are those for fetched sets."""
    with pytest.raises(InvalidKeySet):
        JwksCache("http://a.example/", issuer=SOURCE, audience="blog", start={"keys": []})


def _sample(name: str) -> float | None:
    return REGISTRY.get_sample_value(name)
