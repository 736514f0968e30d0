"""The APIs as processes that are asked to end: what clients and load balancers notice of it."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.support.auth_api import PASSWORD
from tests.support.eventually import eventually
from tests.support.system import Member, System, ended

APIS = ("auth-service api", "blog-service api")
READ = "/openapi.json"

AT_ONCE_SECONDS = 5
"""What a busy machine may need for an end without any delay; a quiet one takes 0.3 s."""


class Connection:
    """One connection to a process, kept as long as the process keeps it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, text: str) -> None:
        self._writer.write(text.encode())
        await self._writer.drain()

    async def get(self, path: str) -> tuple[int, bool]:
        """Return the status, and whether the connection stays open after the response."""
        await self.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
        return await self.response()

    async def response(self) -> tuple[int, bool]:
        async with asyncio.timeout(20):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
            await self._reader.readexactly(int(fields["content-length"]))
        closes = fields.get("connection") == "close"
        assert closes == await self.is_closed()
        return int(head.split()[1]), not closes

    async def is_closed(self, within: float = 0.2) -> bool:
        """Return whether the process closes the connection within so many seconds."""
        try:
            return await asyncio.wait_for(self._reader.read(1), within) == b""
        except TimeoutError:
            return False


@asynccontextmanager
async def connected(api: Member) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def running(system: System, command: str, delay_seconds: float) -> AsyncIterator[Member]:
    service = command.partition("-")[0].upper()
    api = system.process(command, **{f"{service}_SHUTDOWN_DELAY_SECONDS": delay_seconds})
    with ended(api):
        await api.ready()
        yield api


async def look(api: Member, path: str) -> httpx.Response:
    """Make a request on a connection of its own."""
    async with api.client() as client:
        return await client.get(path)


async def shutting_down(api: Member) -> httpx.Response:
    """Wait until the process says that it is not ready; return that response."""

    async def asked() -> httpx.Response | None:
        answer = await look(api, "/readyz")
        return answer if answer.status_code == 503 else None

    answer = await eventually(asked)
    assert answer is not None
    return answer


async def refuses_connections(api: Member) -> bool:
    try:
        async with connected(api):
            return False
    except ConnectionRefusedError:
        return True


@pytest.mark.parametrize("command", APIS)
async def test_requests_are_served_until_load_balancers_have_noticed(
    system: System, command: str
) -> None:
    """After SIGTERM: not ready, alive, and every request served, which closes its connection."""
    delay = 2.0
    async with running(system, command, delay) as api, connected(api) as kept:
        assert await kept.get(READ) == (200, True)
        asked = time.monotonic()
        api.signal(signal.SIGTERM)

        answer = await shutting_down(api)
        on_the_kept_connection = await kept.get(READ)
        on_new_ones: list[int] = []
        while time.monotonic() < asked + delay - 0.5:
            on_new_ones += [(await look(api, path)).status_code for path in (READ, "/livez")]
        code = await api.ended()
        took = time.monotonic() - asked

    assert answer.json() == {"status": "not ready", "reason": "ShuttingDown"}
    assert answer.headers["connection"] == "close"
    assert on_the_kept_connection == (200, False)
    assert set(on_new_ones) == {200}
    assert code == 0
    assert delay <= took < delay + AT_ONCE_SECONDS


async def test_requests_in_progress_are_finished_after_the_last_was_accepted(
    system: System,
) -> None:
    """Even one of which only a part has arrived; connections without one are closed."""
    body = f'{{"email": "ada@example.org", "password": "{PASSWORD}"}}'
    head = (
        "POST /v1/signup HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    async with (
        running(system, APIS[0], 0.5) as api,
        connected(api) as idle,
        connected(api) as half_a_head,
        connected(api) as half_a_body,
    ):
        for each in (idle, half_a_head):
            assert await each.get(READ) == (200, True)
        await half_a_head.send(head[:30])
        await half_a_body.send(head + body[:30])
        api.signal(signal.SIGTERM)
        await eventually(lambda: refuses_connections(api))

        assert await idle.is_closed(AT_ONCE_SECONDS)
        await half_a_body.send(body[30:])
        created = await half_a_body.response()
        await half_a_head.send(head[30:] + body)
        refused = await half_a_head.response()
        code = await api.ended(within=AT_ONCE_SECONDS)

    assert created == (201, False)
    assert refused == (409, False)
    assert code == 0


@pytest.mark.slow
async def test_a_request_that_never_ends_does_not_hold_up_the_process(system: System) -> None:
    """It is cut off after ten seconds, long before orchestrators kill."""
    head = "POST /v1/signup HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n"
    api = system.process(APIS[0], AUTH_BODY_SECONDS_MAX=600)
    with ended(api):
        await api.ready()
        async with connected(api) as endless:
            await endless.send(head)
            await look(api, READ)  # it comes after the other one, which is in progress then
            api.signal(signal.SIGTERM)
            began = time.monotonic()
            code = await api.ended()
            took = time.monotonic() - began

    assert code == 0
    assert 9 < took < 15


@pytest.mark.parametrize(
    ("command", "again"), [(APIS[0], signal.SIGTERM), (APIS[1], signal.SIGINT)]
)
async def test_a_second_signal_ends_the_process_at_once(
    system: System, command: str, again: signal.Signals
) -> None:
    async with running(system, command, 60) as api:
        api.signal(signal.SIGTERM)
        await shutting_down(api)
        api.signal(again)

        assert await api.ended(within=AT_ONCE_SECONDS) == 128 + again


async def test_ctrl_c_has_no_delay(system: System) -> None:
    async with running(system, APIS[1], 60) as api:
        api.signal(signal.SIGINT)

        assert await api.ended(within=AT_ONCE_SECONDS) == 0
