"""The API of a service with a replica: its parts, to which the service adds its own routes.

Guarantees: nothing is connected before the first request needs it, and all is closed with the
application. While keys are at hand, only requests about replays and about one user's life wait for
another service, the source. While the replica may be incomplete, requests are served all the same
and ``/readyz`` says ``degraded``, unless the settings say to refuse.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from fastapi import FastAPI

from contracts.tokens import FixedKeys, TokenVerifier
from contracts.tokens.jwks_cache import JwksCache
from contracts.tokens.keys import jwks, public_key
from replica import console
from replica.caller import ADMINISTRATORS_ONLY, administrator
from replica.caught_up import CaughtUp
from replica.certificates import routes as certificates
from replica.columns import APPLIED_AT, FIELDS, NotAReplica
from replica.life import routes as life
from replica.parked import routes as parked
from replica.parked.model import NoSuchMessage
from replica.proof import current as proof
from replica.reconcile.schedule import why_degraded
from replica.replays import routes as replays
from replica.replays.at_source import SILENCE_SECONDS_MAX
from replica.settings import ApiSettings
from replica.source_client import Account
from replica.status import metrics
from replica.status import routes as status
from replica.table import Replica
from replica.tail import routes as tail
from replica.tail.read import SettledReader
from replica.users import routes as users
from service_kit.database.away import require_writable
from service_kit.database.engines import aside, pooled
from service_kit.http import problems
from service_kit.http.app import add_routers
from service_kit.http.openapi import documented
from service_kit.http.probes import health_routes
from service_kit.http.setting_routes import setting_routes
from service_kit.http.tails.hub import Tails

REFUSALS: Final[Mapping[type[Exception], problems.Code]] = {NoSuchMessage: problems.NOT_FOUND}
"""Exceptions of the library's routes, and the problem that each becomes."""


class Degraded(Exception):
    """The replica may be incomplete, and the setting ``refuse_while_degraded`` is set."""


class ReplicaApi:
    """What an application serves and works with: the database, the keys, and the source.

    Parameters:
        replica: with all fields, by which callers are checked and which administrators list.
        settings: of the API.

    Raises:
        NotAReplica: the table lacks a field.
    """

    def __init__(self, replica: Replica, settings: ApiSettings) -> None:
        if missing := [name for name in (*FIELDS, APPLIED_AT) if name not in replica.table.c]:
            raise NotAReplica(f"an API needs the columns {', '.join(missing)} in {replica.name}")
        self.engine: Final = pooled(settings)
        self._beside_requests: Final = aside(settings)  # for probes
        self.caught_up: Final = CaughtUp(self.engine, replica)
        self.tails: Final = Tails(partial(SettledReader.start, self.engine), settings)
        self.verifier: Final = _verifier(settings)
        self.source: Final = (
            Account(settings, silence_seconds=SILENCE_SECONDS_MAX)
            if settings.can_reconcile
            else None
        )
        self._replica = replica
        self._settings = settings

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Close connections when the application ends."""
        yield
        await self.tails.close()
        await self.verifier.close()
        if self.source is not None:
            await self.source.aclose()
        await self.engine.dispose()
        await self._beside_requests.dispose()

    def add_routes(self, app: FastAPI) -> None:
        """Add the routes for operators and administrators, the console, probes and metrics."""
        for_operators = (
            parked.router,
            status.router,
            certificates.router,
            replays.router,
            tail.router,
        )
        of_settings = setting_routes(
            self._settings, administrator=administrator, responses=documented(*ADMINISTRATORS_ONLY)
        )
        add_routers(app, users.router, life.router, of_settings, *for_operators)
        refresh = partial(
            metrics.refresh,
            self._replica,
            self.engine,
            heartbeat_seconds_max=self._settings.heartbeat_seconds_max,
        )
        app.router.routes.extend(
            console.routes(self._settings.auth_address, self._settings.faults_url)
        )
        app.router.routes.extend(health_routes(ready=self._ready, refresh=refresh))

    async def _ready(self) -> str | None:
        async with self._beside_requests.connect() as connection:
            await require_writable(connection)
            incomplete = await why_degraded(self._replica, connection)
            longest = self._settings.heartbeat_seconds_max
            unproved = await proof.why_degraded(connection, heartbeat_seconds_max=longest)
        await self.verifier.ready()
        if incomplete and self._settings.refuse_while_degraded:
            raise Degraded
        return incomplete or unproved


def _verifier(settings: ApiSettings) -> JwksCache | FixedKeys:
    """Verify with the issuer's keys, starting with the configured key, or with that key alone."""
    given = jwks(public_key(settings.public_key)) if settings.public_key else None
    issuer, audience = settings.issuer, settings.audience
    if settings.jwks_url is not None:
        return JwksCache(settings.jwks_url, issuer=issuer, audience=audience, start=given)
    assert given is not None  # the settings demand one of the two
    return FixedKeys(TokenVerifier.from_jwks(given, issuer=issuer, audience=audience))
