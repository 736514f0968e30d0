"""The blog's public keys: where they come from, and how a revoked one stops counting at once."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.replica_of_users import USERS
from blog_service.settings import ApiSettings, ConsumerSettings
from contracts.events import RevokedKey
from contracts.sync.merge import Outcome
from contracts.tokens.keys import jwk
from replica.inbox.settle import ParkedInARow, Settler
from tests.support.blog_api import a_token, blog_api
from tests.support.builders import NOON, SOURCE, a_state, an_event
from tests.support.inbox import apply_events
from tests.support.inbox import replica as replica_of
from tests.support.key_source import KeySource, key_source
from tests.support.parked_messages import a_delivery

Pair = tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey]


@pytest.fixture(scope="module")
def pair(signing_key: rsa.RSAPrivateKey) -> Pair:
    """The signing key and another one."""
    return signing_key, rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
async def keys(signing_key: rsa.RSAPrivateKey) -> AsyncIterator[KeySource]:
    async with key_source() as source:
        source.publish(signing_key)
        yield source


@pytest.fixture
def fetching(blog_url: str, keys: KeySource) -> ApiSettings:
    """Settings of a blog that fetches its keys."""
    return ApiSettings(database_url=blog_url, jwks_url=keys.url, issuer=SOURCE)


def revocation(key: rsa.RSAPrivateKey) -> RevokedKey:
    return RevokedKey(kid=jwk(key.public_key())["kid"], revoked_at=NOON)


async def me(
    blog: httpx.AsyncClient, key: rsa.RSAPrivateKey, subject: UUID | str | None = None
) -> httpx.Response:
    token = a_token(key, subject or uuid4())
    return await blog.get("/v1/me", headers={"Authorization": f"Bearer {token}"})


class TestRevokedKey:
    """A key that an operator revoked at the source."""

    async def test_its_tokens_are_refused_although_it_is_still_published(
        self, fetching: ApiSettings, blog_engine: AsyncEngine, keys: KeySource, pair: Pair
    ) -> None:
        signing_key, other_key = pair
        keys.publish(*pair)
        user = a_state()
        await apply_events(blog_engine, user)
        async with blog_api(fetching) as blog:
            before = await me(blog, signing_key, user.id)
            await apply_events(blog_engine, revocation(signing_key))
            after = await me(blog, signing_key, user.id)
            other = await me(blog, other_key, user.id)

        assert (before.status_code, after.status_code, other.status_code) == (200, 401, 200)
        assert after.json()["code"] == "invalid_token"
        assert 'error="invalid_token"' in after.headers["WWW-Authenticate"]

    async def test_its_tokens_create_no_provisional_row(
        self, blog: httpx.AsyncClient, blog_engine: AsyncEngine, signing_key: rsa.RSAPrivateKey
    ) -> None:
        """Otherwise a thief of the key could fill the table."""
        await apply_events(blog_engine, revocation(signing_key))
        assert (await me(blog, signing_key)).status_code == 401
        assert await replica_of(blog_engine) == {}

    async def test_a_repeated_revocation_is_unchanged(
        self, blog_engine: AsyncEngine, signing_key: rsa.RSAPrivateKey
    ) -> None:
        data = revocation(signing_key)
        outcomes = await apply_events(blog_engine, data, a_state(), data, a_state())
        assert outcomes == [Outcome.APPLIED, Outcome.APPLIED, Outcome.UNCHANGED, Outcome.APPLIED]

    async def test_it_does_not_reset_the_count_of_parked_messages(
        self, consumer_settings: ConsumerSettings, blog_engine: AsyncEngine
    ) -> None:
        """Like heartbeats, revocations apply even if no user event can be read."""
        settler = Settler(USERS, consumer_settings, blog_engine)

        async def settle_garbage_and_revocations() -> None:
            for number in range(12):
                await settler.settle([a_delivery(an_event(a_state()), body=b"{")])
                data = RevokedKey(kid=f"key-{number}", revoked_at=NOON)
                await settler.settle([a_delivery(an_event(data))])

        with pytest.raises(ParkedInARow):
            await settle_garbage_and_revocations()


class TestKeySources:
    """The settings name a URL, a fixed key, or both."""

    async def test_keys_are_fetched_from_the_url(
        self, fetching: ApiSettings, keys: KeySource, signing_key: rsa.RSAPrivateKey
    ) -> None:
        """The first request fetches them; the API is ready once it has them."""
        async with blog_api(fetching) as blog:
            ready = await blog.get("/readyz")
            response = await me(blog, signing_key)
        assert (ready.status_code, response.status_code) == (200, 200)
        assert keys.fetches == 1

    async def test_the_api_is_not_ready_without_keys(
        self, fetching: ApiSettings, keys: KeySource, signing_key: rsa.RSAPrivateKey
    ) -> None:
        """Requests with a token get 503 with Retry-After; public requests are served."""
        keys.is_down = True
        async with blog_api(fetching) as blog:
            ready = await blog.get("/readyz")
            response = await me(blog, signing_key)
            public = await blog.get(f"/v1/users/{uuid4()}")

        assert (ready.status_code, ready.json()["reason"]) == (503, "KeysUnavailable")
        assert (response.status_code, response.json()["code"]) == (503, "unavailable")
        assert int(response.headers["Retry-After"]) > 0
        assert public.status_code == 404

    async def test_a_fixed_key_serves_until_the_first_fetch_succeeds(
        self, blog_settings: ApiSettings, keys: KeySource, pair: Pair
    ) -> None:
        """The auth service may start later; from then on only its key set counts."""
        signing_key, other_key = pair
        settings = blog_settings.model_copy(update={"jwks_url": keys.url})
        keys.is_down = True
        async with blog_api(settings) as blog:
            ready, response = await blog.get("/readyz"), await me(blog, signing_key)
        keys.is_down = False
        keys.publish(other_key)
        async with blog_api(settings) as blog:
            old, new = await me(blog, signing_key), await me(blog, other_key)
        assert (ready.status_code, response.status_code) == (200, 200)
        assert (old.status_code, new.status_code) == (401, 200)
