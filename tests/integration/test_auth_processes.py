"""The auth service's processes, as an operator starts them, and their output."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt as jose
from joserfc.jwk import KeySet

from local.ports import free_port
from service_kit.http import trusted
from tests.support.broker_accounts import as_relay
from tests.support.builders import SOURCE
from tests.support.databases import ROOT
from tests.support.eventually import eventually
from tests.support.processes import Process, run, running
from tests.support.relaying import Pipe

ADDRESS = "ada.lovelace@secret.example"
OTHER_ADDRESS = "augusta@secret.example"
PASSWORD = "heron lantern gravel sonnet"
WRONG = "heron lantern gravel sonata"
LEAVING = {"password": PASSWORD}
CREDENTIALS = {"email": ADDRESS, "password": PASSWORD}
MOVED = {"email": OTHER_ADDRESS, "password": PASSWORD}
WRONG_BODIES = (
    CREDENTIALS,  # taken by then
    {"email": ADDRESS, "password": "short"},
    {"email": f"{ADDRESS}@", "password": PASSWORD},
)
WRONG_PAIRS = ({"email": ADDRESS, "password": WRONG}, MOVED)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

DEAF = """
import asyncio
from service_kit.http.probes import health_routes
from service_kit.http.serving import serve_beside

async def deaf_once():
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        await asyncio.sleep(3600)

async def nothing():
    pass

routes = health_routes(ready=nothing, refresh=nothing)
serve_beside(deaf_once(), routes, host="127.0.0.1", port={port}, setting="PORT")
"""


@pytest.fixture
def environment(
    api_environment: dict[str, str], amqp_url: str, private_pem: str, tmp_path: Path
) -> dict[str, str]:
    key = tmp_path / "key.pem"
    key.write_text(private_pem)
    return api_environment | {
        "AUTH_AMQP_URL": as_relay(amqp_url),
        "AUTH_PRIVATE_KEY": str(key),
        "AUTH_RELAY_PORT": str(free_port()),
        "AUTH_HEARTBEAT_SECONDS": "1",
    }


@pytest.fixture
async def api(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[Process]:
    process = Process("auth-service api", environment, tmp_path / "api.log")
    async with running(process, f"http://127.0.0.1:{environment['AUTH_PORT']}/readyz"):
        yield process


@pytest.fixture
async def relay(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[Process]:
    process = Process("auth-service relay", environment, tmp_path / "relay.log")
    async with running(process, f"http://127.0.0.1:{environment['AUTH_RELAY_PORT']}/readyz"):
        yield process


async def test_the_logs_contain_no_personal_data(
    api: Process, relay: Process, environment: dict[str, str], pipe: Pipe
) -> None:
    """A whole account life with every mistake: no address, password or token is logged."""
    base = f"http://127.0.0.1:{environment['AUTH_PORT']}"
    ours: dict[str, Any] = {"trust_env": False, "verify": trusted.authorities()}
    async with httpx.AsyncClient(base_url=base, **ours) as client:
        created = await client.post("/v1/signup", json=CREDENTIALS, headers={"traceparent": TRACE})
        token = created.json()["access_token"]
        signed_in = {"Authorization": f"Bearer {token}"}
        keys = KeySet.import_key_set((await client.get("/.well-known/jwks.json")).json())
        answers = [
            *[await client.post("/v1/signup", json=body) for body in WRONG_BODIES],
            await client.post("/v1/signup", content=json.dumps(CREDENTIALS)[:-1].encode()),
            *[await client.post("/v1/signin", json=body) for body in (CREDENTIALS, *WRONG_PAIRS)],
            await client.get("/v1/me", headers={"Authorization": f"Bearer {token}x"}),
            await client.patch("/v1/me", json=MOVED, headers=signed_in),
        ]
        # A deletion erases what waits to be published.
        messages = await pipe.taken(2)
        answers += [
            await client.request("DELETE", "/v1/me", json=LEAVING, headers=signed_in),
            await client.get("/v1/me", headers=signed_in),
        ]
    messages += await pipe.taken(1)
    codes = [await api.stop(), await relay.stop()]

    statuses = [answer.status_code for answer in answers]
    assert created.status_code == 201
    assert jose.decode(token, keys, algorithms=["RS256"]).claims["iss"] == SOURCE
    assert statuses == [409, 422, 422, 422, 200, 401, 401, 401, 200, 204, 401]
    assert messages[0].headers["cloudEvents_traceparent"] == TRACE
    kinds = [message.routing_key for message in messages]
    assert kinds == ["user.created", "user.updated", "user.deleted"]
    assert codes == [0, 0]
    logs = api.log.read_text() + relay.log.read_text()
    for secret in ("secret.example", "lovelace", "augusta", "heron", "argon2", token[:40]):
        assert secret not in logs
    lines = [json.loads(line) for line in logs.splitlines()]
    assert {line["process"] for line in lines} == {"auth-service api", "auth-service relay"}
    assert "token.refused" in {line["event"] for line in lines}


@pytest.mark.usefixtures("relay")
async def test_status_shows_the_outbox_and_the_relay(
    unbound: Pipe, environment: dict[str, str], tmp_path: Path
) -> None:
    await unbound.has_trouble("no queue is bound to the exchange")
    before = run("auth-service status --json", environment, tmp_path)
    await unbound.bind()
    await unbound.has_trouble(None)
    after = run("auth-service status --json", environment, tmp_path)
    plain = run("auth-service status", environment, tmp_path)

    figures = json.loads(before.stdout)
    told = (figures["trouble"], figures["relay"], figures["unpublished"] >= 1)
    assert told == ("no queue is bound to the exchange", "active", True)
    figures = json.loads(after.stdout)
    assert (figures["unpublished"], figures["oldest_unpublished_age_seconds"]) == (0, 0)
    assert (plain.returncode, len(plain.stdout.splitlines())) == (0, len(figures))


async def test_a_process_ends_although_a_cancellation_was_lost(tmp_path: Path) -> None:
    """Python 3.11's ``asyncio.wait_for`` loses one that meets a result; SIGTERM still ends it."""
    port = free_port()
    script = tmp_path / "deaf.py"
    script.write_text(DEAF.format(port=port))
    process = await asyncio.create_subprocess_exec(sys.executable, str(script), cwd=ROOT)

    async def is_alive() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False, verify=trusted.authorities()) as client:
                return (await client.get(f"http://127.0.0.1:{port}/livez")).is_success
        except httpx.HTTPError:
            return False

    try:
        await eventually(is_alive)
        process.terminate()

        code = await asyncio.wait_for(process.wait(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert code == 0


@pytest.mark.usefixtures("api", "relay")
async def test_an_upgrade_offer_causes_no_second_request(environment: dict[str, str]) -> None:
    """At the API and at the health server: one response per request, with and without the offer."""
    body = json.dumps({"email": OTHER_ADDRESS, "password": PASSWORD}).encode()
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    after = b"GET /livez HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
    for port, path, status in (
        (environment["AUTH_PORT"], b"/v1/signin", b"401"),
        (environment["AUTH_RELAY_PORT"], b"/readyz", b"405"),
    ):
        for fields in (b"", offer):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
            writer.write(
                b"POST " + path + b" HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n" % len(body) + fields + b"\r\n"
            )
            await writer.drain()
            writer.write(body)
            first = await reader.readuntil(b"\r\n\r\n")
            writer.write(after)
            rest = await reader.read()
            writer.close()

            assert first.split(b" ")[1] == status
            assert rest.count(b"HTTP/1.1 ") == 1
            assert b"HTTP/1.1 200 OK" in rest
