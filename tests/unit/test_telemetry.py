"""Log lines without personal data, and the trace of a request."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from service_kit.http.tracing import traced
from service_kit.process.telemetry import new_traceparent, traceparent
from tests.support.programs import python

ROOT = Path(__file__).parents[2]
GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

LOGGING = """
import logging, sys, structlog
from service_kit.process.telemetry import configure_logging

configure_logging("test")
log = structlog.get_logger()

def fails():
    raise ValueError("ada@secret.example")

try:
    fails()
except ValueError as error:
    log.exception("ours.exception")
    log.warning("ours.exc_info", exc_info=True)
    log.warning("ours.error", exc_info=error)
    logging.getLogger("uvicorn.error").error("theirs.error", exc_info=error)
    logging.getLogger("asyncio").exception("theirs.exception")
    try:
        raise RuntimeError("ada@secret.example") from error
    except RuntimeError:
        log.exception("ours.chained")
log.info("ours.plain", number=3)
"""


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    """Return the log lines of a process that handles exceptions."""
    done = python("-c", LOGGING, cwd=ROOT, check=True)
    assert not done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_no_line_contains_the_message_of_an_exception(lines: list[dict[str, Any]]) -> None:
    """Messages may quote data such as e-mail addresses, in our code and in libraries."""
    assert len(lines) == 7
    assert "ada@secret.example" not in json.dumps(lines)


def test_an_exception_is_logged_with_type_and_frames(lines: list[dict[str, Any]]) -> None:
    by_event = {line["event"]: line for line in lines}
    for event in ("ours.exception", "ours.exc_info", "ours.error", "theirs.error"):
        assert by_event[event]["error"] == "ValueError"
        assert by_event[event]["frames"][-1].endswith(" fails")


def test_every_line_has_process_level_and_time(lines: list[dict[str, Any]]) -> None:
    """Including the lines of libraries; times are in UTC."""
    for line in lines:
        assert line["process"] == "test"
        assert line["level"] in {"info", "warning", "error"}
        assert line["timestamp"].endswith("Z")


async def test_the_trace_of_the_client_is_kept() -> None:
    assert await traced_as(GIVEN.encode()) == GIVEN


async def test_an_invalid_trace_is_replaced() -> None:
    for sent in (
        *(b"", b"rubbish", GIVEN.upper().encode(), GIVEN.encode() + b"-more", b"\xff" * 55),
        GIVEN.replace("00-", "ff-", 1).encode(),
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01",
    ):
        trace = await traced_as(sent)
        assert trace is not None, sent
        assert trace.encode() != sent, sent
        assert await traced_as(trace.encode()) == trace, sent
        assert new_traceparent() != trace, sent


async def traced_as(sent: bytes) -> str | None:
    seen: list[str | None] = []

    async def app(_: MutableMapping[str, Any], __: Callable[..., Any], ___: Any) -> None:
        seen.append(traceparent.get())

    async def nothing(*_: Any) -> Awaitable[None] | None:
        return None

    scope = {"type": "http", "path": "/v1/me", "headers": [(b"traceparent", sent)]}
    await traced(app)(scope, nothing, nothing)
    [trace] = seen
    return trace
