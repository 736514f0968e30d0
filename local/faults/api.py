"""Take orders to break the system, from operators of the blog alone.

Guarantees: it listens on the loopback interface; pages of the blog alone may call from a browser;
each request shows an access token, and the blog says whether its user is an operator now.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import httpx
from fastapi import FastAPI, Request, status
from pydantic import BaseModel, ConfigDict
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from local.errors import LocalError
from local.faults.inject import Busy, Injector, Refused
from local.faults.model import Broken, Fault
from local.ports import LOOPBACK
from service_kit.http import problems
from service_kit.http.app import new_app
from service_kit.http.bearer import invalid_token, token_of
from service_kit.http.probes import health_routes
from service_kit.http.problems import Code, Problem
from service_kit.http.settings import HttpSettings

_ROLE: Final = "operator"
_TIMEOUT_SECONDS: Final = 10.0

FAULT_UNFINISHED: Final = Code("fault_unfinished", 409, "Another fault is not over yet")
FAULT_REFUSED: Final = Code("fault_refused", 403, "This would harm what is not ours")
FAULT_IMPOSSIBLE: Final = Code("fault_impossible", 503, "The system cannot be broken like this now")


class Settings(HttpSettings):
    """Given by ``make up``, not by the environment."""

    model_config = SettingsConfigDict(env_prefix="FAULTS_")

    host: str = LOOPBACK

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        *_: Any,
        **__: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read no variable: what is exported in a shell must not open it to the network."""
        return (init_settings,)


class Order(BaseModel):
    """What to break."""

    model_config = ConfigDict(extra="forbid")

    fault: Fault


def create_app(injector: Injector, settings: Settings) -> FastAPI:
    """Build the API of an injector."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await injector.close()

    app = new_app(
        "faults",
        "Breaks parts of this machine's system when an operator asks",
        settings=settings,
        refusals={Busy: FAULT_UNFINISHED, Refused: FAULT_REFUSED, LocalError: FAULT_IMPOSSIBLE},
        lifespan=lifespan,
    )

    @app.get("/v1/faults")
    async def get_faults(request: Request) -> dict[str, Any]:
        await _operator(request, injector.stage.blog_url)
        return _seen(injector)

    @app.post("/v1/faults", status_code=status.HTTP_202_ACCEPTED)
    async def post_fault(order: Order, request: Request) -> dict[str, Any]:
        operator = await _operator(request, injector.stage.blog_url)
        await injector.strike(order.fault, operator)
        return _seen(injector)

    @app.post("/v1/faults/end")
    async def end_fault(request: Request) -> dict[str, Any]:
        await _operator(request, injector.stage.blog_url)
        injector.start_again()
        return _seen(injector)

    async def ready() -> None:
        return None

    app.router.routes.extend(health_routes(ready=ready, refresh=ready))
    return app


async def _operator(request: Request, blog_url: str) -> UUID:
    """Return the operator who asks, as the blog knows them at this moment.

    Raises:
        Problem: the token is missing or not accepted, its user is no operator, or the blog does
            not respond.
    """
    headers = {"Authorization": f"Bearer {token_of(request.headers)}"}
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_SECONDS) as client:
            response = await client.get(f"{blog_url}/v1/me", headers=headers)
    except httpx.HTTPError:
        raise Problem(problems.UNAVAILABLE, "The blog does not respond.") from None
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise invalid_token()
    me = response.json() if response.is_success else {}
    if _ROLE not in me.get("roles", ()):
        raise Problem(problems.FORBIDDEN)
    return UUID(me["id"])


def _seen(injector: Injector) -> dict[str, Any]:
    """Show the faults that there are, and the last one."""
    refused = injector.stage.refused()
    current = injector.current
    return {
        "faults": [{"name": fault, "refused": refused.get(fault)} for fault in Fault],
        "current": None if current is None else _told(current),
    }


def _told(broken: Broken) -> dict[str, Any]:
    def text(at: datetime | None) -> str | None:
        return None if at is None else at.isoformat()

    return {
        "fault": broken.fault,
        "at": text(broken.at),
        "users": [str(user) for user in broken.users],
        "steps": [{"at": text(step.at), "text": step.text} for step in broken.steps],
        "back_at": text(broken.back_at),
        "is_over": broken.is_over,
    }
