"""What operators do with signing keys.

Guarantees: one change at a time, whoever asks for it; each is one transaction with its entries in
the audit log and, for a revocation, its event; there is an active key after every change, once
there was one.

Not here: what is allowed (``model``), the commands (``commands``).
"""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.outbox.record import record
from auth_service.settings import KeySettings
from auth_service.tokens.model import BITS, Keys, PrivateKeyMissing, SigningKey, State
from auth_service.tokens.private_keys import PrivateKeys, periods
from auth_service.tokens.store import activate_key, insert_key, lock_keys, move_key, read_keys
from contracts.events import KeyRevoked, RevokedKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became of a key.

    ``is_new`` is False when it was so before; ``other`` is the key that an activation retired, or
    the one that took over from a revoked active key.
    """

    key: SigningKey
    is_new: bool = True
    other: SigningKey | None = None


class Lifecycle:
    """Changes keys in the name of ``actor``."""

    def __init__(self, engine: AsyncEngine, settings: KeySettings, *, actor: str) -> None:
        self._engine = engine
        self._private = PrivateKeys(settings)
        self._periods = periods(settings)
        self._actor = actor

    async def keys(self) -> Keys:
        """All keys that ever were."""
        async with self._engine.connect() as connection:
            return await read_keys(connection, self._periods)

    async def generate(self, bits: int = BITS) -> SigningKey:
        """A new pending key; it is published from now on.

        Raises:
            TooManyKeys: the key set is full.
            NotHere: the keys in the database are sealed with a secret that is not this process's,
                so that the API could not use one that is sealed here.
        """
        public_jwk, sealed = self._private.generate(bits)
        async with self._engine.begin() as connection:
            keys = await lock_keys(connection, self._periods)
            keys.require_room()
            for key in (keys.active, *keys.pending):
                if key is not None and not key.is_configured:
                    self._require_private_half(key)
            return await insert_key(connection, public_jwk, sealed, at=keys.now, actor=self._actor)

    async def activate(self, prefix: str, *, force: bool = False) -> Change:
        """Sign with a pending key from now on; the former active key retires.

        Parameters:
            prefix: of the key's id.
            force: though verifiers may not know it yet.

        Raises:
            KeyRefusal: no or more than one key, one that is gone, too soon, or its private half is
                not at hand.
        """
        async with self._engine.begin() as connection:
            keys = await lock_keys(connection, self._periods)
            key = keys.find(prefix)
            if key.state is State.ACTIVE:
                return Change(key=key, is_new=False)
            keys.require_activatable(key, force=force)
            self._require_private_half(key)
            active, former = await activate_key(
                connection, keys, key, actor=self._actor, forced=force
            )
            return Change(key=active, other=former)

    async def retire(self, prefix: str) -> Change:
        """Withdraw a pending key; it leaves the key set like one that was active.

        Raises:
            KeyRefusal: no or more than one key, the active one, or a revoked one.
        """
        async with self._engine.begin() as connection:
            keys = await lock_keys(connection, self._periods)
            key = keys.find(prefix)
            if key.state is State.RETIRED:
                return Change(key=key, is_new=False)
            keys.require_retirable(key)
            retired = await move_key(connection, key, State.RETIRED, at=keys.now, actor=self._actor)
            return Change(key=retired)

    async def revoke(self, prefix: str) -> Change:
        """Refuse whatever a key signed, here and at every verifier, at once and for ever.

        If it was the active one, the oldest pending key takes over, or a new one.

        Raises:
            KeyRefusal: no or more than one key.
        """
        async with self._engine.begin() as connection:
            keys = await lock_keys(connection, self._periods)
            key = keys.find(prefix)
            if key.state is State.REVOKED:
                return Change(key=key, is_new=False)
            revoked = await move_key(connection, key, State.REVOKED, at=keys.now, actor=self._actor)
            event = RevokedKey(kid=key.kid, revoked_at=keys.now)
            await record(connection, KeyRevoked.type, event)
            if key.state is not State.ACTIVE:
                return Change(key=revoked)
            return Change(key=revoked, other=await self._take_over(connection, keys))

    async def _take_over(self, connection: AsyncConnection, keys: Keys) -> SigningKey:
        usable = [key for key in keys.pending if self._private.of(key) is not None]
        if usable:
            successor = usable[0]
        else:
            public_jwk, sealed = self._private.generate(BITS)
            successor = await insert_key(
                connection, public_jwk, sealed, at=keys.now, actor=self._actor
            )
        return await move_key(
            connection,
            successor,
            State.ACTIVE,
            at=keys.now,
            actor=self._actor,
            cause="the active key was revoked",
        )

    def _require_private_half(self, key: SigningKey) -> None:
        """Raise ``NotHere`` unless the private half of ``key`` can be used with these settings."""
        if self._private.of(key) is not None:
            return
        if key.is_configured:
            raise PrivateKeyMissing(
                f"AUTH_PRIVATE_KEY is not the private half of {key.kid}: nothing could sign with it"
            )
        raise PrivateKeyMissing(
            f"{key.kid} is sealed with another AUTH_SECRET (or, where none is set, for another"
            " AUTH_PRIVATE_KEY) than is set here; set the one of the API, or, if it is lost,"
            f" `auth-service keys revoke {key.kid}`"
        )
