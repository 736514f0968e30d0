"""The keys of one process, as its settings and the table determine them."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from auth_service.settings import ApiSettings
from auth_service.tokens.keyring import KeyRing, NoSigningKey
from auth_service.tokens.lifecycle import Lifecycle
from auth_service.tokens.model import PrivateKeyMissing, SigningKey, State
from contracts.tokens import InvalidToken, KeysUnavailable
from contracts.tokens.keys import jwk
from local.embedded_postgres import EmbeddedPostgres
from local.ports import free_port
from service_kit.database.engines import pooled
from tests.support.databases import Databases
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch

SECRET = SecretStr("the first secret of thirty-two characters")
OTHER_SECRET = SecretStr("another secret of thirty-two characters or more")
OPERATOR = "operator:test"
BITS = 2048


@pytest.fixture
def settings(api_settings: ApiSettings) -> ApiSettings:
    return api_settings.model_copy(update={"secret": SECRET, "key_wait_seconds": 0})


@pytest.fixture
def without_key(settings: ApiSettings) -> ApiSettings:
    """An API whose keys are all in the database."""
    return settings.model_copy(update={"private_key": None})


@pytest.fixture(scope="session")
def other_key() -> SecretStr:
    return pem(rsa.generate_private_key(public_exponent=65537, key_size=BITS))


def pem(key: rsa.RSAPrivateKey) -> SecretStr:
    """The key as written in the setting."""
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return SecretStr(key.private_bytes(*form).decode())


def lifecycle(engine: AsyncEngine, settings: ApiSettings) -> Lifecycle:
    return Lifecycle(engine, settings, actor=OPERATOR)


async def states(engine: AsyncEngine) -> dict[str, str]:
    rows = await fetch(engine, "SELECT kid, state FROM signing_keys")
    return {row.kid: row.state for row in rows}


async def a_token(ring: KeyRing) -> str:
    return (await ring.signer()).for_service(f"svc_{uuid4().hex}", ["posts:write"])


async def kid_of_signer(ring: KeyRing) -> str:
    return (await ring.verify(await a_token(ring))).key_id


async def signs_with(ring: KeyRing, kid: str) -> bool:
    return await kid_of_signer(ring) == kid


def configured_kid(settings: ApiSettings) -> str:
    assert settings.configured_key is not None
    kid: str = jwk(settings.configured_key.public_key())["kid"]
    return kid


class TestConfiguredKey:
    """The key of AUTH_PRIVATE_KEY becomes a key like the others."""

    async def test_processes_that_start_at_once_register_it_once(
        self, auth_engine: AsyncEngine, settings: ApiSettings
    ) -> None:
        """One row, active, and one audit entry for each step."""
        rings = [KeyRing(auth_engine, settings) for _ in range(8)]

        signers = await asyncio.gather(*(kid_of_signer(ring) for ring in rings))

        kid = configured_kid(settings)
        assert set(signers) == {kid}
        assert await states(auth_engine) == {kid: "active"}
        audited = await fetch(auth_engine, "SELECT action, subject FROM audit_log ORDER BY id")
        assert [tuple(row) for row in audited] == [("key_generated", kid), ("key_activated", kid)]

    async def test_another_key_in_the_setting_takes_over(
        self, auth_engine: AsyncEngine, settings: ApiSettings, other_key: SecretStr
    ) -> None:
        """The article's way to change it; tokens of processes with either key are valid."""
        changed = settings.model_copy(update={"private_key": other_key})
        before, after = KeyRing(auth_engine, settings), KeyRing(auth_engine, changed)
        old, new = configured_kid(settings), configured_kid(changed)

        assert await kid_of_signer(before) == old
        assert await kid_of_signer(after) == new

        assert await states(auth_engine) == {old: "retired", new: "active"}
        await eventually(lambda: knows(before, new))
        for signing, verifying in ((before, after), (after, before)):
            assert await verifying.verify(await a_token(signing))
        # The process that was not restarted keeps running, and does not import its key again.
        assert await kid_of_signer(before) == old
        assert await states(auth_engine) == {old: "retired", new: "active"}
        await before.ready()

    async def test_a_former_key_that_is_set_again_signs_again(
        self, auth_engine: AsyncEngine, settings: ApiSettings, other_key: SecretStr
    ) -> None:
        """Even if it had left the key set."""
        first = settings.model_copy(update={"key_hold_seconds": 0})
        second = first.model_copy(update={"private_key": other_key})
        await KeyRing(auth_engine, first).signer()
        await KeyRing(auth_engine, second).signer()

        assert await kid_of_signer(KeyRing(auth_engine, first)) == configured_kid(first)

        kids = {configured_kid(first): "active", configured_kid(second): "retired"}
        assert await states(auth_engine) == kids

    async def test_it_waits_where_a_stored_key_signs(
        self, auth_engine: AsyncEngine, settings: ApiSettings, without_key: ApiSettings
    ) -> None:
        """It is published as pending; the operator's active key stays active."""
        stored = await activated(lifecycle(auth_engine, without_key))
        ring = KeyRing(auth_engine, settings)

        assert await kid_of_signer(ring) == stored.kid
        assert await states(auth_engine) == {
            stored.kid: "active",
            configured_kid(settings): "pending",
        }
        assert await kid_set(ring) == {stored.kid, configured_kid(settings)}

    async def test_it_takes_over_from_keys_that_were_sealed_with_its_predecessor(
        self, auth_engine: AsyncEngine, settings: ApiSettings, other_key: SecretStr
    ) -> None:
        """Without AUTH_SECRET, changing the private key changes the secret."""
        alone = settings.model_copy(update={"secret": None})
        changed = alone.model_copy(update={"private_key": other_key})
        await KeyRing(auth_engine, alone).signer()
        stored = await activated(lifecycle(auth_engine, alone))
        ring = KeyRing(auth_engine, changed)

        assert await kid_of_signer(ring) == configured_kid(changed)

        assert (await states(auth_engine))[stored.kid] == "retired"
        await ring.ready()

    async def test_once_revoked_it_never_signs_again(
        self, auth_engine: AsyncEngine, settings: ApiSettings
    ) -> None:
        """A restart with it in the setting logs a warning, and uses its successor."""
        kid = configured_kid(settings)
        ring = KeyRing(auth_engine, settings)
        token = await a_token(ring)
        revoked = await lifecycle(auth_engine, settings).revoke(kid)
        assert revoked.other is not None

        with capture_logs() as logs:
            restarted = KeyRing(auth_engine, settings)
            assert await kid_of_signer(restarted) == revoked.other.kid

        with pytest.raises(InvalidToken):
            await restarted.verify(token)
        assert await states(auth_engine) == {kid: "revoked", revoked.other.kid: "active"}
        [warning] = [line for line in logs if line["event"] == "keys.configured_key_revoked"]
        assert (warning["kid"], warning["remedy"]) == (kid, "AUTH_PRIVATE_KEY")
        await restarted.ready()


class TestStoredKeys:
    """Keys in the database, sealed."""

    async def test_stored_keys_are_sufficient(
        self, auth_engine: AsyncEngine, without_key: ApiSettings
    ) -> None:
        """Without AUTH_PRIVATE_KEY nothing signs until a key is activated; no process restarts."""
        ring = KeyRing(auth_engine, without_key)
        keys = lifecycle(auth_engine, without_key)
        with pytest.raises(NoSigningKey):
            await ring.signer()
        with pytest.raises(NoSigningKey):
            await ring.ready()
        pending = await keys.generate(BITS)
        await eventually(lambda: knows(ring, pending.kid))
        with pytest.raises(NoSigningKey):
            await ring.signer()

        await keys.activate(pending.kid)

        await eventually(lambda: is_ready(ring))
        assert await kid_of_signer(ring) == pending.kid

    async def test_nothing_private_is_legible_in_the_table(
        self, auth_engine: AsyncEngine, settings: ApiSettings
    ) -> None:
        """The sealed key is neither DER nor PEM, and bound to its id."""
        keys = lifecycle(auth_engine, settings)
        first, second = await activated(keys), await keys.generate(BITS)

        [row, *_] = await fetch(auth_engine, "SELECT * FROM signing_keys ORDER BY created_at")
        await execute(
            auth_engine,
            "UPDATE signing_keys SET sealed_private_key = (SELECT sealed_private_key FROM"
            f" signing_keys WHERE kid = '{second.kid}') WHERE kid = '{first.kid}'",
        )

        assert row.public_jwk.keys() == {"kty", "n", "e", "kid", "use", "alg", "key_ops"}
        assert b"PRIVATE" not in row.sealed_private_key
        assert not row.sealed_private_key.startswith(b"\x30")
        with pytest.raises(NoSigningKey):
            await KeyRing(auth_engine, settings.model_copy(update={"private_key": None})).signer()

    async def test_a_changed_secret_still_opens_them_by_its_predecessor(
        self, auth_engine: AsyncEngine, without_key: ApiSettings
    ) -> None:
        """AUTH_PREVIOUS_SECRET; new keys are sealed with the new secret alone."""
        stored = await activated(lifecycle(auth_engine, without_key))
        changed = without_key.model_copy(update={"secret": OTHER_SECRET, "previous_secret": SECRET})
        ring = KeyRing(auth_engine, changed)
        assert await kid_of_signer(ring) == stored.kid
        await ring.ready()

        successor = await activated(lifecycle(auth_engine, changed))

        alone = changed.model_copy(update={"previous_secret": None})
        assert await kid_of_signer(KeyRing(auth_engine, alone)) == successor.kid

    async def test_without_the_secret_the_process_is_not_ready_and_says_why(
        self, auth_engine: AsyncEngine, without_key: ApiSettings, settings: ApiSettings
    ) -> None:
        """The log names it; a substitute signs, but an operator must act."""
        await KeyRing(auth_engine, settings).signer()
        stored = await activated(lifecycle(auth_engine, settings))

        with capture_logs() as logs:
            wrong = KeyRing(auth_engine, without_key.model_copy(update={"secret": OTHER_SECRET}))
            with pytest.raises(NoSigningKey):
                await wrong.ready()
            with pytest.raises(NoSigningKey):
                await wrong.signer()
        substitute = KeyRing(auth_engine, settings.model_copy(update={"secret": OTHER_SECRET}))

        [line] = [line for line in logs if line["event"] == "keys.sealed_with_another_secret"]
        assert (line["kid"], line["remedy"]) == (stored.kid, "AUTH_SECRET")
        assert await kid_of_signer(substitute) == configured_kid(settings)
        with pytest.raises(NoSigningKey):
            await substitute.ready()
        assert (await states(auth_engine))[stored.kid] == "active"

    async def test_an_operator_with_another_secret_is_refused(
        self, auth_engine: AsyncEngine, without_key: ApiSettings
    ) -> None:
        """A key that the API could not unseal is neither generated nor activated."""
        keys = lifecycle(auth_engine, without_key)
        stored, pending = await activated(keys), await keys.generate(BITS)
        wrong = lifecycle(auth_engine, without_key.model_copy(update={"secret": OTHER_SECRET}))

        with pytest.raises(PrivateKeyMissing, match="AUTH_SECRET"):
            await wrong.generate(BITS)
        with pytest.raises(PrivateKeyMissing, match="AUTH_SECRET"):
            await wrong.activate(pending.kid)

        assert await states(auth_engine) == {stored.kid: "active", pending.kid: "pending"}

    async def test_a_process_with_another_secret_does_not_take_over(
        self, auth_engine: AsyncEngine, without_key: ApiSettings, other_key: SecretStr
    ) -> None:
        """AUTH_SECRET is wrong there; processes with the right one are not affected."""
        keys = lifecycle(auth_engine, without_key)
        stored = await activated(keys)
        changes = {"private_key": other_key, "secret": OTHER_SECRET}
        elsewhere = without_key.model_copy(update=changes)
        assert await kid_of_signer(KeyRing(auth_engine, elsewhere)) != stored.kid
        assert (await states(auth_engine))[stored.kid] == "active"
        assert await kid_of_signer(KeyRing(auth_engine, without_key)) == stored.kid
        # No process with these settings could sign with the other one's configured key.
        with pytest.raises(PrivateKeyMissing, match="AUTH_PRIVATE_KEY"):
            await keys.activate(configured_kid(elsewhere))


class TestReading:
    """One small query a second, and what happens without it."""

    async def test_requests_share_one_query_and_the_next_second_another(
        self, auth_engine: AsyncEngine, settings: ApiSettings
    ) -> None:
        """Fifty at once cost one query; fresh keys are not read again."""
        ring = KeyRing(auth_engine, settings)
        token = await a_token(ring)
        other = KeyRing(auth_engine, settings)

        with queries(auth_engine) as seen:
            await asyncio.gather(*(other.verify(token) for _ in range(50)))
            await other.verify(token)

            assert len(seen) == 1
            await eventually(lambda: asked_again(other, token, seen), within=3)

    async def test_an_unreadable_table_delays_nobody(
        self, auth_engine: AsyncEngine, settings: ApiSettings
    ) -> None:
        """Requests use the keys read before, and reads of the table do not pile up."""
        ring = KeyRing(auth_engine, settings)
        token = await a_token(ring)
        async with auth_engine.begin() as connection:
            await connection.execute(text("LOCK TABLE signing_keys IN ACCESS EXCLUSIVE MODE"))
            await eventually(lambda: is_reading(ring, token), within=3)

            with queries(auth_engine) as seen:
                began = time.monotonic()
                await asyncio.gather(*(ring.verify(token) for _ in range(10)))
                took = time.monotonic() - began
                await ring.verify(token)

        assert took < 1.5
        assert seen == []

    async def test_an_unexpected_error_affects_readiness_only(
        self, auth_engine: AsyncEngine, settings: ApiSettings
    ) -> None:
        """Verification continues; the process is not ready until it can read the keys again."""
        ring = KeyRing(auth_engine, settings)
        token = await a_token(ring)
        await execute(auth_engine, "ALTER TABLE signing_keys RENAME TO elsewhere")
        await eventually(lambda: is_unreadable(ring))

        assert await ring.verify(token)
        assert await ring.signer()

        await execute(auth_engine, "ALTER TABLE elsewhere RENAME TO signing_keys")
        await eventually(lambda: is_ready(ring))

    async def test_without_the_database_it_uses_the_keys_read_last(
        self, settings: ApiSettings, mortal_postgres: tuple[EmbeddedPostgres, Databases]
    ) -> None:
        """It signs and verifies, and reads the table again when the database is back."""
        server, databases = mortal_postgres
        url = databases.make("auth")
        here = settings.model_copy(
            update={"database_url": url.replace("postgresql://", "postgresql+asyncpg://")}
        )
        engine = pooled(here)
        ring = KeyRing(engine, here)
        token = await a_token(ring)
        try:
            await asyncio.to_thread(server.stop)
            await eventually(lambda: is_unreadable(ring))

            assert await ring.verify(token)
            assert await ring.verify(await a_token(ring))
            assert (await ring.key_set()).body
        finally:
            await asyncio.to_thread(server.start)
        await eventually(lambda: is_ready(ring))
        await engine.dispose()

    async def test_before_the_first_read_no_key_is_used(self, settings: ApiSettings) -> None:
        """The configured key may have been revoked, so it is not used without the table."""
        nowhere = f"postgresql+asyncpg://auth@127.0.0.1:{free_port()}/auth"
        here = settings.model_copy(update={"database_url": nowhere})
        engine = pooled(here)
        ring = KeyRing(engine, here)

        for call in (ring.signer, ring.key_set, ring.ready, lambda: ring.verify("a.b.c")):
            with pytest.raises(KeysUnavailable):
                await call()
        await engine.dispose()


async def activated(keys: Lifecycle) -> SigningKey:
    key = await keys.generate(BITS)
    change = await keys.activate(key.kid)
    assert change.key.state is State.ACTIVE
    return change.key


async def kid_set(ring: KeyRing) -> set[str]:
    key_set: dict[str, Any] = json.loads((await ring.key_set()).body)
    return {key["kid"] for key in key_set["keys"]}


async def knows(ring: KeyRing, kid: str) -> bool:
    return kid in await kid_set(ring)


async def is_ready(ring: KeyRing) -> bool:
    try:
        await ring.ready()
    except (NoSigningKey, KeysUnavailable):
        return False
    return True


async def is_unreadable(ring: KeyRing) -> bool:
    try:
        await ring.ready()
    except KeysUnavailable:
        return True
    return False


async def is_reading(ring: KeyRing, token: str) -> bool:
    await ring.verify(token)
    return ring._reading is not None


async def asked_again(ring: KeyRing, token: str, seen: list[str]) -> bool:
    await ring.verify(token)
    return len(seen) == 2


@contextmanager
def queries(engine: AsyncEngine) -> Iterator[list[str]]:
    """Record the statements about keys that are sent inside the block."""
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "signing_keys" in statement:
            seen.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine.sync_engine, "before_cursor_execute", note)
