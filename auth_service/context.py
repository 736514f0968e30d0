"""The objects that requests share: created once by ``app``, a parameter of routes as ``Auth``."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.mail.sender import MailSender
from auth_service.reconcile.snapshot import Snapshots
from auth_service.secrets import Secrets
from auth_service.settings import ApiSettings
from auth_service.throttle.throttle import Throttle
from auth_service.tokens.keyring import KeyRing
from auth_service.users.passwords import Passwords
from service_kit.database.alone import ping
from service_kit.http.downloads import Downloads
from service_kit.http.tails.hub import Tails


@dataclass(frozen=True, slots=True)
class Context:
    """The API's settings, database, passwords, keys and limits."""

    settings: ApiSettings
    engine: AsyncEngine
    reads: AsyncEngine
    """The same connections, for reads of one statement, outside any transaction."""
    beside_requests: AsyncEngine
    """A connection of its own for probes and keys, which must not wait for those of requests."""
    secrets: Secrets
    passwords: Passwords
    keys: KeyRing
    throttle: Throttle
    mail: MailSender | None
    """None if mail is not configured."""
    snapshots: Snapshots
    downloads: Downloads
    tails: Tails

    async def ready(self) -> None:
        """Raise unless requests can be served: there is a database, and a key to sign with."""
        await ping(self.beside_requests)
        await self.keys.ready()

    async def disconnect(self) -> None:
        """Close the connections to the database."""
        await self.engine.dispose()
        await self.beside_requests.dispose()


async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Auth = Annotated[Context, Depends(_context)]
