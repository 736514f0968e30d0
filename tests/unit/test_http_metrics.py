"""Requests are counted and timed by route."""

from collections.abc import AsyncIterator, MutableMapping
from contextlib import suppress
from typing import Any

import httpx
import prometheus_client
import pytest
from fastapi import APIRouter, FastAPI
from starlette.routing import Route

from service_kit.http import metrics as http_metrics
from service_kit.http.middleware import install
from service_kit.http.probes import health_routes
from tests.support.blog_api import metric

router = APIRouter(prefix="/v1/counted")


@router.get("/{number}")
async def get_number(number: int) -> int:
    if number == 0:
        raise ZeroDivisionError
    return number


async def nothing() -> None:
    """Do nothing, as a check that succeeds."""


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(telemetry={"tracing": False})
    install(app, refusals={}, cors_origins=[], body_bytes_max=1024, body_seconds_max=5)
    app.include_router(router)
    routes: list[Route] = health_routes(ready=nothing, refresh=nothing)
    app.router.routes.extend(routes)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service.test") as client:
        yield client


def counted(method: str, status: str, handler: str) -> float:
    labels = {"method": method, "status": status, "handler": handler}
    return prometheus_client.REGISTRY.get_sample_value("http_requests_total", labels) or 0


async def test_a_request_is_counted_under_its_route(client: httpx.AsyncClient) -> None:
    """Values that a client chooses never become labels."""
    for method, path, counted_as in (
        ("GET", "/v1/counted/7", ("GET", "200", "/v1/counted/{number}")),
        ("HEAD", "/v1/counted/7", ("HEAD", "200", "/v1/counted/{number}")),
        ("GET", "/v1/counted/x", ("GET", "422", "/v1/counted/{number}")),
        ("PUT", "/v1/counted/7", ("PUT", "405", "/v1/counted/{number}")),
        ("GET", "/v1/counted/0", ("GET", "500", "/v1/counted/{number}")),
        ("GET", "/wp-login.php", ("GET", "404", "none")),
        ("BREW", "/wp-login.php", ("other", "404", "none")),
    ):
        before = counted(*counted_as)
        await client.request(method, path)
        assert counted(*counted_as) == before + 1, method
        assert path not in prometheus_client.generate_latest().decode(), method


@pytest.mark.parametrize(("fails", "status"), [(True, "500"), (False, "499")])
async def test_a_request_without_a_response_is_counted(fails: bool, status: str) -> None:
    """A client that disconnects is no failure of the service, and must not raise its alarm."""

    async def silent(*_: object) -> None:
        if fails:
            raise ZeroDivisionError

    before = counted("GET", status, "none")
    with suppress(ZeroDivisionError):
        scope = {"type": "http", "path": "/", "method": "GET"}
        await http_metrics.counted(silent)(scope, nothing, nothing)
    assert counted("GET", status, "none") == before + 1


async def test_a_request_is_timed_once(client: httpx.AsyncClient) -> None:
    line = 'http_request_duration_seconds_count{handler="/v1/counted/{number}",method="GET"}'
    await client.get("/v1/counted/1")
    before = metric((await client.get("/metrics")).text, line)
    await client.get("/v1/counted/1")
    assert metric((await client.get("/metrics")).text, line) == before + 1


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_are_not_counted(client: httpx.AsyncClient, path: str) -> None:
    """They arrive every few seconds and would hide the requests of users."""
    before = counted("GET", "200", "none")
    assert (await client.get(path)).status_code == 200
    assert counted("GET", "200", "none") == before


async def test_a_response_that_is_to_last_is_counted_and_not_timed() -> None:
    """A live tail of a quarter of an hour is no slow request."""

    async def lasting(scope: MutableMapping[str, Any], *_: object) -> None:
        scope[http_metrics.LASTS] = True

    def timed() -> float:
        labels = {"method": "GET", "handler": "none"}
        name = "http_request_duration_seconds_count"
        return prometheus_client.REGISTRY.get_sample_value(name, labels) or 0

    before, timed_before = counted("GET", "499", "none"), timed()
    await http_metrics.counted(lasting)(
        {"type": "http", "path": "/", "method": "GET"}, nothing, nothing
    )
    assert (counted("GET", "499", "none"), timed()) == (before + 1, timed_before)
