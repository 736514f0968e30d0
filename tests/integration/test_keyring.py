"""The keys of one process, as its settings and the table determine them."""

import asyncio
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from auth_service.settings import ApiSettings
from auth_service.tokens.keyring import KeyRing, NoSigningKey
from auth_service.tokens.model import PrivateKeyMissing
from contracts.tokens import InvalidToken, KeysUnavailable
from local.ports import free_port
from service_kit.database.engines import pooled
from tests.support.eventually import eventually
from tests.support.keyrings import BITS, Keyrings, a_token, kids_of
from tests.support.pems import pem
from tests.support.statements import statements

SECRET = SecretStr("the first secret of thirty-two characters")
OTHER_SECRET = SecretStr("another secret of thirty-two characters or more")


@pytest.fixture
def configured(auth_engine: AsyncEngine, api_settings: ApiSettings) -> Keyrings:
    """Processes with a secret and AUTH_PRIVATE_KEY."""
    return Keyrings(auth_engine, api_settings).having(secret=SECRET, key_wait_seconds=0)


@pytest.fixture
def stored(configured: Keyrings) -> Keyrings:
    """Processes whose keys are all in the database."""
    return configured.having(private_key=None)


@pytest.fixture(scope="session")
def other_key() -> SecretStr:
    """Another key, as written in the setting."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    return SecretStr(pem(key))


async def kid_of_signer(ring: KeyRing) -> str:
    return (await ring.verify(await a_token(ring))).key_id


class TestConfiguredKey:
    """The key of AUTH_PRIVATE_KEY becomes a key like the others."""

    async def test_processes_starting_at_once_register_it_once(self, configured: Keyrings) -> None:
        signers = await asyncio.gather(*(kid_of_signer(configured.ring()) for _ in range(8)))
        kid = configured.configured_kid
        assert set(signers) == {kid}
        assert await configured.states() == {kid: "active"}
        audited = await configured.fetch("SELECT action, subject FROM audit_log ORDER BY id")
        assert audited == [("key_generated", kid), ("key_activated", kid)]

    async def test_another_key_in_the_setting_takes_over(
        self, configured: Keyrings, other_key: SecretStr
    ) -> None:
        """The article's way to change it; tokens of processes with either key are valid."""
        changed = configured.having(private_key=other_key)
        before, after = configured.ring(), changed.ring()
        old, new = configured.configured_kid, changed.configured_kid

        assert await kid_of_signer(before) == old
        assert await kid_of_signer(after) == new

        assert await configured.states() == {old: "retired", new: "active"}
        await eventually(lambda: knows(before, new))
        for signing, verifying in ((before, after), (after, before)):
            assert await verifying.verify(await a_token(signing))
        # The process that was not restarted keeps running, and does not import its key again.
        assert await kid_of_signer(before) == old
        assert await configured.states() == {old: "retired", new: "active"}
        await before.ready()

    async def test_a_former_key_that_is_set_again_signs_again(
        self, configured: Keyrings, other_key: SecretStr
    ) -> None:
        """Even if it had left the key set."""
        first = configured.having(key_hold_seconds=0)
        second = first.having(private_key=other_key)
        await first.ring().signer()
        await second.ring().signer()
        assert await kid_of_signer(first.ring()) == first.configured_kid
        kids = {first.configured_kid: "active", second.configured_kid: "retired"}
        assert await configured.states() == kids

    async def test_a_stored_key_comes_first(self, configured: Keyrings, stored: Keyrings) -> None:
        """It is published as pending; the operator's active key stays active."""
        active, ring = await stored.activated(), configured.ring()
        assert await kid_of_signer(ring) == active.kid
        kids = {active.kid: "active", configured.configured_kid: "pending"}
        assert await configured.states() == kids
        assert await kids_of(ring) == kids.keys()

    async def test_it_takes_over_from_keys_that_were_sealed_with_its_predecessor(
        self, configured: Keyrings, other_key: SecretStr
    ) -> None:
        """Without AUTH_SECRET, changing the private key changes the secret."""
        alone = configured.having(secret=None)
        changed = alone.having(private_key=other_key)
        await alone.ring().signer()
        sealed = await alone.activated()
        ring = changed.ring()

        assert await kid_of_signer(ring) == changed.configured_kid

        assert (await configured.states())[sealed.kid] == "retired"
        await ring.ready()

    async def test_once_revoked_it_never_signs_again(self, configured: Keyrings) -> None:
        """A restart with it in the setting logs a warning, and uses its successor."""
        kid = configured.configured_kid
        token = await a_token(configured.ring())
        revoked = await configured.operator().revoke(kid)
        assert revoked.other is not None
        assert revoked.other.bits == 3072

        with capture_logs() as logs:
            restarted = configured.ring()
            assert await kid_of_signer(restarted) == revoked.other.kid

        with pytest.raises(InvalidToken):
            await restarted.verify(token)
        assert await configured.states() == {kid: "revoked", revoked.other.kid: "active"}
        [warning] = [line for line in logs if line["event"] == "keys.configured_key_revoked"]
        assert (warning["kid"], warning["remedy"]) == (kid, "AUTH_PRIVATE_KEY")
        await restarted.ready()


class TestStoredKeys:
    """Keys in the database, sealed."""

    async def test_stored_keys_are_sufficient(self, stored: Keyrings) -> None:
        """Without AUTH_PRIVATE_KEY nothing signs until a key is activated; no process restarts."""
        ring = stored.ring()
        for call in (ring.signer, ring.ready):
            with pytest.raises(NoSigningKey):
                await call()
        pending = await stored.operator().generate(BITS)
        await eventually(lambda: knows(ring, pending.kid))
        with pytest.raises(NoSigningKey):
            await ring.signer()

        await stored.operator().activate(pending.kid)

        await eventually(lambda: is_ready(ring))
        assert await kid_of_signer(ring) == pending.kid

    async def test_nothing_private_is_legible_in_the_table(self, stored: Keyrings) -> None:
        """The sealed key is neither DER nor PEM, and bound to its id."""
        first, second = await stored.activated(), await stored.operator().generate(BITS)

        [row, *_] = await stored.fetch("SELECT * FROM signing_keys ORDER BY created_at")
        await stored.execute(
            "UPDATE signing_keys SET sealed_private_key = (SELECT sealed_private_key FROM"
            f" signing_keys WHERE kid = '{second.kid}') WHERE kid = '{first.kid}'"
        )

        assert row.public_jwk.keys() == {"kty", "n", "e", "kid", "use", "alg", "key_ops"}
        assert b"PRIVATE" not in row.sealed_private_key
        assert not row.sealed_private_key.startswith(b"\x30")
        with pytest.raises(NoSigningKey):
            await stored.ring().signer()

    async def test_a_changed_secret_opens_them_by_its_predecessor(self, stored: Keyrings) -> None:
        """AUTH_PREVIOUS_SECRET; new keys are sealed with the new secret alone."""
        first = await stored.activated()
        changed = stored.having(secret=OTHER_SECRET, previous_secret=SECRET)
        ring = changed.ring()
        assert await kid_of_signer(ring) == first.kid
        await ring.ready()
        successor = await changed.activated()
        assert await kid_of_signer(changed.having(previous_secret=None).ring()) == successor.kid

    async def test_without_the_secret_the_process_is_not_ready_and_says_why(
        self, configured: Keyrings, stored: Keyrings
    ) -> None:
        """The log names it; a substitute signs, but an operator must act."""
        await configured.ring().signer()
        active = await configured.activated()

        with capture_logs() as logs:
            wrong = stored.having(secret=OTHER_SECRET).ring()
            for call in (wrong.ready, wrong.signer):
                with pytest.raises(NoSigningKey):
                    await call()
        substitute = configured.having(secret=OTHER_SECRET).ring()

        [line] = [line for line in logs if line["event"] == "keys.sealed_with_another_secret"]
        assert (line["kid"], line["remedy"]) == (active.kid, "AUTH_SECRET")
        assert await kid_of_signer(substitute) == configured.configured_kid
        with pytest.raises(NoSigningKey):
            await substitute.ready()
        assert (await configured.states())[active.kid] == "active"

    async def test_an_operator_with_another_secret_is_refused(self, stored: Keyrings) -> None:
        """A key that the API could not unseal is neither generated nor activated."""
        active, pending = await stored.activated(), await stored.operator().generate(BITS)
        wrong = stored.having(secret=OTHER_SECRET).operator()
        for attempt in (wrong.generate(BITS), wrong.activate(pending.kid)):
            with pytest.raises(PrivateKeyMissing, match="AUTH_SECRET"):
                await attempt
        assert await stored.states() == {active.kid: "active", pending.kid: "pending"}

    async def test_a_process_with_another_secret_does_not_take_over(
        self, stored: Keyrings, other_key: SecretStr
    ) -> None:
        """AUTH_SECRET is wrong there; processes with the right one are not affected."""
        active = await stored.activated()
        elsewhere = stored.having(private_key=other_key, secret=OTHER_SECRET)
        assert await kid_of_signer(elsewhere.ring()) != active.kid
        assert (await stored.states())[active.kid] == "active"
        assert await kid_of_signer(stored.ring()) == active.kid
        # No process with these settings could sign with the other one's configured key.
        with pytest.raises(PrivateKeyMissing, match="AUTH_PRIVATE_KEY"):
            await stored.operator().activate(elsewhere.configured_kid)


class TestReading:
    """One small query a second, and what happens without it."""

    async def test_requests_of_one_second_share_one_query(self, configured: Keyrings) -> None:
        """Fifty at once cost one query; fresh keys are not read again."""
        token, other = await a_token(configured.ring()), configured.ring()

        with statements("signing_keys") as seen:
            await asyncio.gather(*(other.verify(token) for _ in range(50)))
            await other.verify(token)
            assert len(seen) == 1

            async def asked_again() -> bool:
                await other.verify(token)
                return len(seen) == 2

            await eventually(asked_again, within=3)

    async def test_an_unreadable_table_delays_nobody(self, configured: Keyrings) -> None:
        """Requests use the keys read before, and reads of the table do not pile up."""
        # By default a read would give up while the test still looks.
        engine = pooled(configured.settings.model_copy(update={"lock_timeout_ms": 4_500}))
        ring = replace(configured, engine=engine).ring()
        token = await a_token(ring)

        async def is_reading() -> bool:
            await ring.verify(token)
            return ring._reading is not None

        async with configured.engine.begin() as connection:
            await connection.execute(text("LOCK TABLE signing_keys IN ACCESS EXCLUSIVE MODE"))
            await eventually(is_reading, within=3)

            with statements("signing_keys") as seen:
                began = time.monotonic()
                await asyncio.gather(*(ring.verify(token) for _ in range(10)))
                took = time.monotonic() - began
                await ring.verify(token)
        # What still reads would keep its connection.
        await eventually(lambda: ring._reading is None)
        await engine.dispose()

        assert took < 1.5
        assert seen == []

    async def test_an_unexpected_error_affects_readiness_only(self, configured: Keyrings) -> None:
        """Verification continues; the process is not ready until it can read the keys again."""
        ring = configured.ring()
        token = await a_token(ring)
        await configured.execute("ALTER TABLE signing_keys RENAME TO elsewhere")
        await eventually(lambda: readiness(ring))

        assert await ring.verify(token)
        assert await ring.verify(await a_token(ring))
        assert (await ring.key_set()).body

        await configured.execute("ALTER TABLE elsewhere RENAME TO signing_keys")
        await eventually(lambda: is_ready(ring))

    async def test_before_the_first_read_no_key_is_used(self, configured: Keyrings) -> None:
        """The configured key may have been revoked, so it is not used without the table."""
        nowhere = f"postgresql+asyncpg://auth@127.0.0.1:{free_port()}/auth"
        settings = configured.settings.model_copy(update={"database_url": nowhere})
        engine = pooled(settings)
        ring = KeyRing(engine, settings)

        for call in (ring.signer, ring.key_set, ring.ready, lambda: ring.verify("a.b.c")):
            with pytest.raises(KeysUnavailable):
                await call()
        await engine.dispose()


async def knows(ring: KeyRing, kid: str) -> bool:
    return kid in await kids_of(ring)


async def readiness(ring: KeyRing) -> type[Exception] | None:
    """Return why the ring is not ready, if so."""
    try:
        await ring.ready()
    except (NoSigningKey, KeysUnavailable) as error:
        return type(error)
    return None


async def is_ready(ring: KeyRing) -> bool:
    return await readiness(ring) is None
