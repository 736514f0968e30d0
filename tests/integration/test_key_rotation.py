"""Change the signing key: on schedule without a refused token, in an emergency at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import jwt
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.settings import ApiSettings
from auth_service.tokens.keyring import KeyRing
from auth_service.tokens.lifecycle import Lifecycle
from auth_service.tokens.model import Gone, NoSuchKey, StillActive, TooManyKeys, TooSoon
from contracts.events import KeyRevoked
from contracts.tokens import AccessToken, TokenVerifier
from tests.support.auth_api import AuthApi, Signed, assert_problem, serving
from tests.support.eventually import eventually
from tests.support.keyrings import BITS, OPERATOR, Keyrings, a_token, published
from tests.support.statements import refusing

KEY_SET = "/.well-known/jwks.json"


@pytest.fixture
def keyrings(auth_engine: AsyncEngine, api_settings: ApiSettings) -> Keyrings:
    secret = SecretStr("a secret of more than thirty-two characters")
    return Keyrings(auth_engine, api_settings).having(secret=secret)


@pytest.fixture
def keys(keyrings: Keyrings) -> Lifecycle:
    return keyrings.operator()


@pytest.fixture
def impatient(keyrings: Keyrings) -> Lifecycle:
    """An operator's commands, with keys that need not wait."""
    return keyrings.having(key_wait_seconds=0).operator()


class Holder:
    """A verifier that caches a key set for a while before it fetches it again."""

    def __init__(self, ring: KeyRing, settings: ApiSettings, seconds: float) -> None:
        self._ring = ring
        self._settings = settings
        self._seconds = seconds
        self._fetched_at = -seconds
        self._verifier: TokenVerifier | None = None

    async def verify(self, token: str) -> AccessToken:
        if self._verifier is None or time.monotonic() - self._fetched_at >= self._seconds:
            self._fetched_at = time.monotonic()
            self._verifier = TokenVerifier.from_jwks(
                await published(self._ring),
                issuer=self._settings.issuer,
                audience=self._settings.audience,
            )
        return self._verifier.verify(token)


async def test_rotating_refuses_not_one_token(keyrings: Keyrings) -> None:
    keyrings = keyrings.having(key_wait_seconds=2)
    keys, rings = keyrings.operator(), [keyrings.ring() for _ in range(2)]
    holders = [Holder(ring, keyrings.settings, 0.7) for ring in rings]
    verifiers: list[Holder | KeyRing] = [*rings, *holders]
    tokens: list[str] = []
    signers: list[str] = []
    is_over = asyncio.Event()

    async def sign_and_verify(ring: KeyRing) -> None:
        while not is_over.is_set():
            token = await a_token(ring)
            tokens.append(token)
            for verifier in verifiers:
                for shown in (tokens[0], tokens[len(tokens) // 2], token):
                    verified = await verifier.verify(shown)
            signers.append(verified.key_id)
            await asyncio.sleep(0.01)

    async def rotate() -> str:
        key = await keys.generate(BITS)
        with pytest.raises(TooSoon):
            await keys.activate(key.kid)
        await eventually(lambda: succeeds(lambda: keys.activate(key.kid)))
        await eventually(lambda: key.kid in signers)
        return key.kid

    async def operate() -> list[str]:
        try:
            rotated = [await rotate(), await rotate()]
            for ring in rings:
                await eventually(partial(signs_with, ring, rotated[1]))
            return rotated
        finally:
            is_over.set()

    rotated, *_ = await asyncio.gather(operate(), *(sign_and_verify(ring) for ring in rings))

    assert len(tokens) > 100
    assert list(dict.fromkeys(signers))[1:] == rotated
    for verifier in verifiers:
        for token in tokens[:: len(tokens) // 50]:
            assert await verifier.verify(token)


async def test_the_wait_is_measured_by_the_database_and_can_be_overridden(
    keyrings: Keyrings, keys: Lifecycle
) -> None:
    """15 minutes after publication, or at once by force; the audit log shows which."""
    await keyrings.ring().signer()
    key = await keys.generate(BITS)
    with pytest.raises(TooSoon):
        await keys.activate(key.kid)
    later = await keys.generate(BITS)
    await keyrings.execute(
        "UPDATE signing_keys SET created_at = created_at - interval '901 s'"
        f" WHERE kid = '{later.kid}'"
    )

    assert (await keys.activate(later.kid)).is_new
    assert (await keys.activate(key.kid, force=True)).is_new

    audited = await keyrings.fetch(
        "SELECT subject, details->>'forced' AS forced FROM audit_log"
        f" WHERE action = 'key_activated' AND actor = '{OPERATOR}' ORDER BY id"
    )
    assert [tuple(row) for row in audited] == [(later.kid, "false"), (key.kid, "true")]


async def test_keys_are_activated_one_by_one(keyrings: Keyrings, impatient: Lifecycle) -> None:
    await keyrings.ring().signer()
    made = [await impatient.generate(BITS) for _ in range(3)]

    activations = (impatient.activate(key.kid) for key in made for _ in range(2))
    changes = await asyncio.gather(*activations, return_exceptions=True)

    states = [key.state for key in (await impatient.keys()).keys]
    assert sorted(states) == ["active", "retired", "retired", "retired"]
    done = [change for change in changes if not isinstance(change, Gone)]
    assert sum(not isinstance(change, BaseException) and change.is_new for change in done) == 3
    assert not any(isinstance(change, BaseException) for change in done)


async def test_changes_of_keys_are_idempotent(keyrings: Keyrings, impatient: Lifecycle) -> None:
    await keyrings.ring().signer()
    key, spare = await impatient.generate(BITS), await impatient.generate(BITS)

    for _ in range(2):
        activated = await impatient.activate(key.kid)
        retired = await impatient.retire(spare.kid)
    first, revoked = [await impatient.revoke(spare.kid) for _ in range(2)]

    assert [change.is_new for change in (activated, retired, revoked)] == [False] * 3
    of_both = f"subject IN ('{key.kid}', '{spare.kid}')"
    actions = await keyrings.fetch(f"SELECT action FROM audit_log WHERE {of_both} ORDER BY id")
    done = ["generated", "generated", "activated", "retired", "revoked"]
    assert [row.action for row in actions] == [f"key_{what}" for what in done]
    [recorded] = await revocations(keyrings)
    assert (recorded.user_id, recorded.version) == (None, None)
    data = KeyRevoked.__annotations__["data"].model_validate_json(recorded.payload)
    assert (data.kid, data.revoked_at) == (spare.kid, first.key.revoked_at)
    assert first.other is None


async def test_what_is_refused_changes_nothing(keyrings: Keyrings, impatient: Lifecycle) -> None:
    """Above all, another key than verifiers take; revoking one makes room."""
    await keyrings.ring().signer()
    active, old = await impatient.generate(BITS), await impatient.generate(BITS)
    await impatient.activate(active.kid)
    await impatient.retire(old.kid)
    await keyrings.execute(
        "INSERT INTO signing_keys (kid, state, public_jwk, created_at)"
        " SELECT 'key' || n, 'pending', public_jwk, created_at FROM signing_keys,"
        f" generate_series(1, 15) AS n WHERE kid = '{active.kid}'"
    )
    before = await impatient.keys()

    with pytest.raises(StillActive):
        await impatient.retire(active.kid)
    with pytest.raises(Gone):
        await impatient.activate(old.kid, force=True)
    for ask in (impatient.activate, impatient.retire, impatient.revoke):
        with pytest.raises(NoSuchKey):
            await ask("nobody")
    with pytest.raises(TooManyKeys, match="revoke"):
        await impatient.generate(BITS)

    assert (await impatient.keys()).keys == before.keys
    for number in range(2, 6):
        await impatient.revoke(f"key{number}")
    assert await impatient.generate(BITS)


class TestRevoke:
    """Emergencies."""

    async def test_its_tokens_are_refused_within_a_second_and_another_key_signs(
        self, keyrings: Keyrings, keys: Lifecycle
    ) -> None:
        """The oldest pending key, however young; sign-in works again, the key set changes."""
        async with serving(keyrings.settings) as api:
            ada = await api.sign_up()
            [leaked] = await kids(api)
            spare = await keys.generate(BITS)
            await keys.generate(BITS)
            await eventually(lambda: has_keys(api, 3))

            began = time.monotonic()
            change = await keys.revoke(leaked)
            await eventually(lambda: is_refused(api, ada), within=5)
            took = time.monotonic() - began

            assert took < 2
            assert change.other is not None
            assert change.other.kid == spare.kid
            assert leaked not in await kids(api)
            bob = await api.sign_up("bob@example.org")
            assert (await api.me(bob)).status_code == 200
            assert_problem(await api.me(ada), 401, "invalid_token")

    async def test_a_spare_that_cannot_be_used_is_passed_over(
        self, keyrings: Keyrings, impatient: Lifecycle
    ) -> None:
        """Otherwise a configured key whose private half is elsewhere would stop signing."""
        stored = await impatient.generate(BITS)
        await impatient.activate(stored.kid)
        await keyrings.ring().signer()
        change = await keyrings.having(private_key=None).operator().revoke(stored.kid)
        assert change.other is not None
        assert not change.other.is_configured

    async def test_a_revocation_that_fails_half_way_is_rolled_back(
        self, keyrings: Keyrings, keys: Lifecycle
    ) -> None:
        """Key, event, successor and audit entries are one transaction."""
        await keyrings.ring().signer()
        before = await keys.keys()
        async with refusing(keyrings.engine, "signing_keys"):
            with pytest.raises(Exception, match="refused for a test"):
                await keys.revoke(before.keys[0].kid)

        assert (await keys.keys()).keys == before.keys
        assert await revocations(keyrings) == []
        assert not await keyrings.fetch("SELECT 1 FROM audit_log WHERE action = 'key_revoked'")


async def revocations(keyrings: Keyrings) -> list[Any]:
    return await keyrings.fetch(
        "SELECT user_id, version, payload::text AS payload FROM outbox_events"
        " WHERE type = 'key.revoked'"
    )


async def kids(api: AuthApi) -> set[str]:
    return {key["kid"] for key in (await api.get(KEY_SET)).json()["keys"]}


async def has_keys(api: AuthApi, number: int) -> bool:
    return len(await kids(api)) == number


async def is_refused(api: AuthApi, signed_in: Signed) -> bool:
    return (await api.me(signed_in)).status_code == 401


async def signs_with(ring: KeyRing, kid: str) -> bool:
    """Whether ``ring`` has come to sign with that key.

    Not asked of ``verify``: between the two, the ring may come to know of the revocation.
    """
    return bool(jwt.get_unverified_header(await a_token(ring))["kid"] == kid)


async def succeeds(ask: Callable[[], Awaitable[object]]) -> bool:
    try:
        await ask()
    except TooSoon:
        return False
    return True
