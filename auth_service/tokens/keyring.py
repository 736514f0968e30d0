"""The keys of this process: which one signs, which ones verify, which are published.

Guarantees: a change of the table by another process, such as a revocation, takes effect here within
a second. While the database is unavailable, the keys that were read last stay in use. Before the
first read no key is in use, not even that of AUTH_PRIVATE_KEY: it may have been revoked, and would
return each time the service starts without its database.

Not here: changing keys (``lifecycle``).
"""

import asyncio
import hashlib
import json
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.settings import ApiSettings
from auth_service.tokens.import_configured_key import import_configured_key, needed_import
from auth_service.tokens.model import Keys, SigningKey, State
from auth_service.tokens.private_keys import PrivateKeys, periods
from auth_service.tokens.sign import TokenSigner
from auth_service.tokens.store import read_published_keys
from contracts.tokens import LEEWAY_SECONDS, AccessToken, KeysUnavailable, TokenVerifier
from contracts.tokens.key_set import read_key_set
from service_kit.database.away import DATABASE_AWAY
from service_kit.process.actors import operator
from service_kit.process.readings import Reading

log = structlog.get_logger()

activated = Reading(
    "usersync_signing_key_activated_timestamp_seconds", "When the active key was activated"
)

FRESH_SECONDS: Final = 1.0
"""How long keys are used before they are read again; a revocation may take that long."""

WAIT_SECONDS_MAX: Final = 1.0
"""How long a request waits for the next read before it uses the keys read last."""


class NoSigningKey(Exception):
    """This process has no key to sign with; the log says why."""


@dataclass(frozen=True, slots=True)
class KeySetDocument:
    """The JWK Set (RFC 7517) as bytes, and its strong entity tag (RFC 9110 8.8.3)."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ring:
    """The keys of one read of the table, ready for use."""

    keys: Keys
    signer: TokenSigner | None
    verifier: TokenVerifier
    document: KeySetDocument


class KeyRing:
    """Signs with the active key, and verifies with all published keys.

    Every method may read the table, so call none while holding a connection. If requests that wait
    here held all connections, each would wait for ``WAIT_SECONDS_MAX``.
    """

    def __init__(self, engine: AsyncEngine, settings: ApiSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._periods = periods(settings)
        self._private = PrivateKeys(settings)
        longest = max(settings.access_token_seconds, settings.service_token_seconds)
        self._token_lasts = timedelta(seconds=longest + LEEWAY_SECONDS)
        self._signers: dict[str, TokenSigner] = {}
        self._ring: _Ring | None = None
        self._read_at = -FRESH_SECONDS
        self._reading: asyncio.Task[None] | None = None
        self._trouble: str | None = None
        self._warned: set[tuple[str, str]] = set()

    async def signer(self) -> TokenSigner:
        """The signer of the active key, or of a published substitute with a private half here.

        Raises:
            NoSigningKey: there is neither.
            KeysUnavailable: the database has been unavailable since the start.
        """
        ring = await self._current()
        if ring.signer is None:
            raise NoSigningKey
        return ring.signer

    async def verify(self, token: str) -> AccessToken:
        """Verify ``token`` with the published keys; return its claims.

        Raises:
            InvalidToken: the token is invalid.
            KeysUnavailable: the database has been unavailable since the start.
        """
        return (await self._current()).verifier.verify(token)

    async def certificate_key(self, kid: str) -> RSAPublicKey | None:
        """The key by which a certificate is verified: any that was not revoked, however old."""
        async with self._engine.connect() as connection:
            keys = await read_published_keys(connection, self._periods, also=kid)
        key = keys.get(kid)
        if key is None or key.state is State.REVOKED:
            return None
        return read_key_set({"keys": [key.public_jwk]})[kid]

    async def key_set(self) -> KeySetDocument:
        """The published keys, including pending ones, for verifiers.

        Raises:
            KeysUnavailable: the database has been unavailable since the start.
        """
        return (await self._current()).document

    async def ready(self) -> None:
        """Raise unless the keys are up to date and the active one can be used.

        Raises:
            NoSigningKey: there is no key to sign with, or AUTH_SECRET does not decrypt the active
                key, even if a substitute signs for now.
            KeysUnavailable: the table cannot be read.
        """
        ring = await self._current()
        if self._trouble is not None:
            raise KeysUnavailable
        active = ring.keys.active
        if ring.signer is None or (active is not None and self._private.cannot_unseal(active)):
            raise NoSigningKey

    async def _current(self) -> _Ring:
        """The keys, no older than ``FRESH_SECONDS`` while the database is available."""
        if self._reading is None and time.monotonic() - self._read_at >= FRESH_SECONDS:
            self._read_at = time.monotonic()
            self._reading = asyncio.create_task(self._read())
        if self._reading is not None:
            # Not cancelled with the request that started it, since others wait as well.
            timeout = None if self._ring is None else WAIT_SECONDS_MAX
            await asyncio.wait({self._reading}, timeout=timeout)
        if self._ring is None:
            raise KeysUnavailable
        return self._ring

    async def _read(self) -> None:
        try:
            keys = await self._load()
            if needed_import(keys, self._private, self._token_lasts) is not None:
                async with self._engine.begin() as connection:
                    await import_configured_key(
                        connection,
                        self._periods,
                        self._private,
                        token_lasts=self._token_lasts,
                        actor=operator(),
                    )
                keys = await self._load()
            self._log_problems(keys)
            self._trouble = None
        except Exception as error:  # of any kind: the keys that were read last stay in use
            trouble = type(error).__name__
            if trouble != self._trouble:
                unexpected = None if isinstance(error, DATABASE_AWAY) else error
                log.warning("keys.not_read", error=trouble, exc_info=unexpected)
            self._trouble = trouble
        finally:
            self._reading = None

    async def _load(self) -> Keys:
        async with self._engine.connect() as connection:
            keys = await read_published_keys(
                connection, self._periods, also=self._private.configured_kid
            )
        self._ring = self._build(keys)
        return keys

    def _build(self, keys: Keys) -> _Ring:
        signer = self._signer_among(keys)
        kids = [key.kid for key in keys.published]
        if self._ring is not None and kids == [key.kid for key in self._ring.keys.published]:
            return replace(self._ring, keys=keys, signer=signer)
        key_set = {"keys": [key.public_jwk for key in keys.published]}
        body = json.dumps(key_set).encode()
        return _Ring(
            keys=keys,
            signer=signer,
            verifier=TokenVerifier(
                read_key_set(key_set) if kids else {},
                issuer=self._settings.issuer,
                audience=self._settings.audience,
            ),
            document=KeySetDocument(body, f'"{hashlib.sha256(body).hexdigest()}"'),
        )

    def _signer_among(self, keys: Keys) -> TokenSigner | None:
        for key in keys.by_preference(self._token_lasts):
            private = self._private.of(key)
            if private is None:
                continue
            if key.kid not in self._signers:
                self._signers[key.kid] = TokenSigner(
                    private,
                    issuer=self._settings.issuer,
                    audience=self._settings.audience,
                    user_seconds=self._settings.access_token_seconds,
                    service_seconds=self._settings.service_token_seconds,
                )
            return self._signers[key.kid]
        return None

    def _log_problems(self, keys: Keys) -> None:
        """Log problems that an operator must fix, each once in the life of this process."""
        if keys.active is not None and keys.active.activated_at is not None:
            activated.set(keys.active.activated_at.timestamp())
        if self._ring is None or self._ring.signer is None:
            self._warn_once(
                "keys.none_signs", keys.active, remedy="auth-service keys generate, activate"
            )
        for key in keys.published:
            if key.state is not State.RETIRED and self._private.cannot_unseal(key):
                self._warn_once("keys.sealed_with_another_secret", key, remedy="AUTH_SECRET")
        configured = keys.get(self._private.configured_kid or "")
        if configured is not None and configured.state is State.REVOKED:
            self._warn_once("keys.configured_key_revoked", configured, remedy="AUTH_PRIVATE_KEY")

    def _warn_once(self, event: str, key: SigningKey | None = None, **fields: str) -> None:
        kid = "" if key is None else key.kid
        if (event, kid) not in self._warned:
            self._warned.add((event, kid))
            log.warning(event, kid=kid or None, **fields)
