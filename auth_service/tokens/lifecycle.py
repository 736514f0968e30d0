"""Generate, activate, retire and revoke signing keys.

Guarantees: one change at a time. Each is one transaction with its audit entries and, for a
revocation, its event. Once there is an active key, there is one after every change.

Not here: which changes are allowed (``model``), the commands (``commands``).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.outbox.record import record
from auth_service.settings import KeySettings
from auth_service.tokens.model import BITS, Keys, PrivateKeyMissing, SigningKey, State
from auth_service.tokens.private_keys import PrivateKeys, periods
from auth_service.tokens.store import activate_key, insert_key, lock_keys, move_key, read_keys
from auth_service.users.administrators import require_administrator
from contracts.events import KeyRevoked, RevokedKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The result of a change.

    ``is_new`` is False if the key was in that state before. ``other`` is the key that an activation
    retired, or the one that replaced a revoked active key.
    """

    key: SigningKey
    is_new: bool = True
    other: SigningKey | None = None


class Lifecycle:
    """Changes keys on behalf of ``actor``.

    Parameters:
        actor: for the audit log.
        administrator: the user who must be an administrator at each change, which otherwise raises
            ``NoAdministrator``; None for a command.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        settings: KeySettings,
        *,
        actor: str,
        administrator: UUID | None = None,
    ) -> None:
        self._engine = engine
        self._private = PrivateKeys(settings)
        self._periods = periods(settings)
        self._actor = actor
        self._administrator = administrator

    async def keys(self) -> Keys:
        """All keys, including retired and revoked ones."""
        async with self._engine.connect() as connection:
            return await read_keys(connection, self._periods)

    async def generate(self, bits: int = BITS) -> SigningKey:
        """Generate a pending key, which is published from now on.

        Raises:
            TooManyKeys: the key set is full.
            PrivateKeyMissing: the keys in the database are sealed with another secret than this
                process has, so the API could not unseal a key sealed here.
        """
        public_jwk, sealed = await asyncio.to_thread(self._private.generate, bits)
        async with self._changing() as (connection, keys):
            keys.require_room()
            for key in (keys.active, *keys.pending):
                if key is not None and not key.is_configured:
                    self._require_private_half(key)
            return await insert_key(connection, public_jwk, sealed, at=keys.now, actor=self._actor)

    async def activate(self, prefix: str, *, force: bool = False) -> Change:
        """Start signing with a pending key; the former active key retires.

        Parameters:
            prefix: of the key's id.
            force: even if verifiers may not have fetched the key yet.

        Raises:
            KeyRefusal: the prefix matches no key or several, the key was retired or revoked, it is
                too soon, or the private half is missing.
        """
        async with self._changing() as (connection, keys):
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
        """Withdraw a pending key; it leaves the key set like a key that was active.

        Raises:
            KeyRefusal: the prefix matches no key or several, or the key is active or revoked.
        """
        async with self._changing() as (connection, keys):
            key = keys.find(prefix)
            if key.state is State.RETIRED:
                return Change(key=key, is_new=False)
            keys.require_retirable(key)
            retired = await move_key(connection, key, State.RETIRED, at=keys.now, actor=self._actor)
            return Change(key=retired)

    async def revoke(self, prefix: str) -> Change:
        """Reject every token of a key permanently, here at once and at verifiers with the event.

        The oldest pending key, or else a new one, replaces the active key.

        Raises:
            KeyRefusal: the prefix matches no key or several.
        """
        async with self._changing() as (connection, keys):
            key = keys.find(prefix)
            if key.state is State.REVOKED:
                return Change(key=key, is_new=False)
            revoked = await move_key(connection, key, State.REVOKED, at=keys.now, actor=self._actor)
            event = RevokedKey(kid=key.kid, revoked_at=keys.now)
            await record(connection, KeyRevoked.type, event)
            if key.state is not State.ACTIVE:
                return Change(key=revoked)
            return Change(key=revoked, other=await self._replace_active(connection, keys))

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[tuple[AsyncConnection, Keys]]:
        """Open the transaction of one change, and read all keys under its lock."""
        async with self._engine.begin() as connection:
            keys = await lock_keys(connection, self._periods)
            await require_administrator(connection, self._administrator)
            yield connection, keys

    async def _replace_active(self, connection: AsyncConnection, keys: Keys) -> SigningKey:
        usable = [key for key in keys.pending if self._private.of(key) is not None]
        if usable:
            successor = usable[0]
        else:
            public_jwk, sealed = await asyncio.to_thread(self._private.generate, BITS)
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
                f"AUTH_PRIVATE_KEY is not the private half of {key.kid}; set the private key that"
                " belongs to it, or activate another key"
            )
        raise PrivateKeyMissing(
            f"{key.kid} is encrypted with another AUTH_SECRET (or AUTH_PRIVATE_KEY, if that is"
            " unset) than is set here; set that of the API, or if it is lost, run"
            f" `auth-service keys revoke {key.kid}`"
        )
