"""The keys of auth processes that share a database, and an operator's commands about them."""

import json
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.settings import ApiSettings
from auth_service.tokens.keyring import KeyRing
from auth_service.tokens.lifecycle import Lifecycle
from auth_service.tokens.model import SigningKey, State
from contracts.tokens.keys import jwk
from tests.support.inbox import OnDatabase

OPERATOR = "operator:test"
BITS = 2048


@dataclass(frozen=True)
class Keyrings(OnDatabase):
    """A database of signing keys, and the settings of the processes that use it."""

    engine: AsyncEngine
    settings: ApiSettings

    def having(self, **changes: object) -> "Keyrings":
        """The same database for processes with these changes of the settings."""
        return replace(self, settings=self.settings.model_copy(update=changes))

    def ring(self) -> KeyRing:
        """The keys of a process that starts now."""
        return KeyRing(self.engine, self.settings)

    def operator(self) -> Lifecycle:
        return Lifecycle(self.engine, self.settings, actor=OPERATOR)

    @property
    def configured_kid(self) -> str:
        assert self.settings.configured_key is not None
        kid: str = jwk(self.settings.configured_key.public_key())["kid"]
        return kid

    async def activated(self) -> SigningKey:
        key = await self.operator().generate(BITS)
        change = await self.operator().activate(key.kid)
        assert change.key.state is State.ACTIVE
        return change.key

    async def states(self) -> dict[str, str]:
        rows = await self.fetch("SELECT kid, state FROM signing_keys")
        return {row.kid: row.state for row in rows}


async def a_token(ring: KeyRing) -> str:
    return (await ring.signer()).for_service(f"svc_{uuid4().hex}", ["posts:write"])


async def published(ring: KeyRing) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((await ring.key_set()).body)
    return document


async def kids_of(ring: KeyRing) -> set[str]:
    """The ids of its published keys."""
    return {key["kid"] for key in (await published(ring))["keys"]}
